"""Packed elements as stored, for backends that decode them by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Encoded", "Encoding"]


@dataclass(frozen=True, slots=True)  # a large model has hundreds of thousands
class Encoding:
    """How the pieces of a packed weight become float32 numbers.

    A kind is decoded by the same operations in the same order everywhere: a backend that decodes
    it by itself gives the bits that the packing's ``decode`` gives. Each step rounds to float32.
    Codes lie in words from the lowest bit up, and may cross the ends of words. The pieces of a
    matrix of ``rows`` x ``cols``, in the order of `Encoded.words`, by kind:

    - "ggml": blocks of `dtype`, uint8 (rows, bytes).
    - "mlx_affine": code x scale + bias. Codes of `bits` in uint32 (rows, cols x bits / 32); scales
      and biases (rows, cols / group).
    - "scaled": element x scale of its block of `lines` x `group`, whose scale is first multiplied
      or divided by a number for the whole tensor if `factor` says so. Elements of `dtype`: E2M1 in
      words of any width and shape with rows x cols / 2 bytes, the first one in the lower half;
      8-bit ones as words of any width with rows x cols bytes. Scales of `scale` (bytes for
      F8_E4M3 and F8_E8M0) in any shape of ceil(rows / lines) x ceil(cols / group). The third
      piece is the factor, float32 of any shape.
    - "signed": (code - 2**(bits - 1)) x scale of its block. Codes of `bits` in int32
      (rows, ceil(cols x bits / 32)); scales as for "scaled". A third piece, int32
      (ceil(rows x bits / 32), groups), has zero points packed along its first axis: each minus
      2**(bits - 1) is subtracted from the codes of its row and group (then `lines` is 1).
    - "table": number of the code x scale. Codes of 4 bits, the first of a byte in its upper half,
      in words of any width and shape with rows x `width` / 2 bytes, row after row; scales in any
      shape of rows x `width` / group; the numbers of the 16 codes, float32. Scales are float32.
      If `nested` is not 0 they are bytes: the codes of the 256 numbers in a fifth piece, float32,
      each multiplied by the one of `nested` scales in the fourth piece, float32, plus `offset`.
      `group` divides `width`.
    - "gptq": (code - zero) x scale. Codes in int32 (words, rows), 32 codes in `bits` words along
      the first axis, which may have more than cols; zeros in int32 (groups, ceil(rows x bits /
      32)), each plus `zero_offset`, cut to `bits`; scales (groups, rows). A fourth piece, int32
      or int64 (cols), gives each column's group; without it, groups of `group` columns follow
      each other and the last one may be shorter. A group that does not exist is a PackingError.
    - "awq_gemm": (code - zero) x scale. Codes in int32 (cols, rows x bits / 32), zeros in int32
      (groups, rows x bits / 32), both with the eight of each run of rows in the order 0 2 4 6 1 3
      5 7; scales (groups, rows).
    - "awq_gemv": (code - zero) x scale. Codes in int32 (rows, cols / 8), zeros in int32
      (rows, words), scales (rows, 8 x words), where words may be more than the groups need.

    Attributes:
        kind: One of those above.
        dtype: The block type, or the type of elements that are not integers: ggml's name, "E2M1"
            or a key of `DTYPES`; "" if codes are integers.
        bits: Bits of a code; 0 where the type says it.
        group: Columns that share a scale; 0 where the type says it.
        lines: Rows that share a scale.
        scale: Type of the scales: a key of `DTYPES` or `SCALE_DTYPE`, whatever the file calls
            them; "" where `Encoded.dtypes` says it.
        factor: "multiplies" or "divides"; "" without a number for the whole tensor.
        zero_offset: What is added to stored zero points.
        width: Columns of the whole matrix, where words do not show them.
        nested: Scales that share a scale themselves; 0 if none do.
        offset: What is added to nested scales.
    """

    kind: str
    dtype: str = ""
    bits: int = 0
    group: int = 0
    lines: int = 1
    scale: str = ""
    factor: str = ""
    zero_offset: int = 0
    width: int = 0
    nested: int = 0
    offset: float = 0.0


@dataclass(frozen=True)
class Encoded:
    """A block of a packed weight: all its stored words, and which lines of them are meant.

    Attributes:
        encoding: How they become numbers.
        words: Words of each piece, of the whole matrix: views of the file with any strides, valid
            until the next block is requested.
        dtypes: Types of the pieces: keys of `DTYPES`, or a format's own name.
        rows: Rows of the logical matrix.
        cols: Columns of the logical matrix, from a multiple of 1024.
        unpack: The packing's own decoder of this block, float32 of shape `shape`, for what a
            backend does not decode after all; raises PackingError.
    """

    encoding: Encoding
    words: tuple[NDArray[Any], ...]
    dtypes: tuple[str, ...]
    rows: slice
    cols: slice
    unpack: Callable[[], NDArray[np.float32]]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the block."""
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start

    @property
    def size(self) -> int:
        """Elements of the block."""
        rows, cols = self.shape
        return rows * cols

    @property
    def nbytes(self) -> int:
        """Bytes of the block as float32."""
        return 4 * self.size

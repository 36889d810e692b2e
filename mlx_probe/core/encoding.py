"""Packed elements as stored, for backends that decode them by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Encoded", "Encoding"]


@dataclass(frozen=True)
class Encoding:
    """How the pieces of a packed weight become float32 numbers.

    A kind is decoded by the same operations in the same order everywhere: a backend that decodes
    it by itself gives the bits that the packing's ``decode`` gives.

    Attributes:
        kind: The family: "ggml", "mlx_affine", "mlx_float", "gptq", "awq".
        dtype: ggml's name of the block type; for others "".
        bits: Bits of a code; 0 where the type says it.
        group: Columns that share a scale; 0 where the type says it.
        zero_offset: What is added to stored zero points.
    """

    kind: str
    dtype: str = ""
    bits: int = 0
    group: int = 0
    zero_offset: int = 0


@dataclass(frozen=True)
class Encoded:
    """A block of a packed weight: all its stored words, and which lines of them are meant.

    Attributes:
        encoding: How they become numbers.
        words: Words of each piece, of the whole matrix: views of the file, valid until the next
            block is requested.
        dtypes: Types of the pieces: keys of `DTYPES`, or a format's own name.
        rows: Rows of the logical matrix.
        cols: Columns of the logical matrix, from a multiple of 1024.
    """

    encoding: Encoding
    words: tuple[NDArray[Any], ...]
    dtypes: tuple[str, ...]
    rows: slice
    cols: slice

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

"""Stored elements for the compiled kernels: decoded, counted and summed in one read.

A kernel reads lines of stored elements. Everything that it trusts is checked here: no file, however
its shapes and words contradict each other, makes it read beyond an array.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import native
from mlx_probe.core.dtypes import DTYPES, decode
from mlx_probe.core.encoding import Encoded, Encoding
from mlx_probe.core.errors import PackingError

__all__ = ["PLAIN", "Lines", "Tally", "decodes", "is_available", "lines_of"]

# Kind of an `Encoding` for elements that are stored as they are; its dtype is the elements'.
PLAIN = "plain"

# In the order of decode.h.
_KINDS = (
    *("F32", "F16", "BF16", "F8", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "codes", "columns", "interleaved"),
)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}

# Types that are read as stored.
_STORED = {"F32": "F32", "F16": "F16", "BF16": "BF16", "F8_E4M3": "F8", "F8_E5M2": "F8"}

# Elements and bytes of ggml's blocks.
_BLOCKS = {
    **{"Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34)},
    **{"Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176)},
    "Q6_K": (256, 210),
}

# Float64 values of all bytes of the 8-bit floats.
_BYTES = {
    dtype: decode(np.arange(256, dtype=np.uint8), dtype).astype(np.float64)
    for dtype in ("F8_E4M3", "F8_E5M2")
}


class Tally(ctypes.Structure):
    """What a kernel knows of float32 elements so far; mirrors ``tally`` of elements.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("count", "nan", "inf", "zero", "small", "subnormal")),
        *((name, ctypes.c_double) for name in ("mean", "s2", "s3", "s4")),
        *((name, ctypes.c_float) for name in ("min", "max", "epsilon")),
        *((name, ctypes.c_int32) for name in ("bf16", "f16")),
    )

    @classmethod
    def empty(cls, zero_epsilon: float) -> Tally:
        """Of no elements.

        Args:
            zero_epsilon: Magnitude up to which ``small`` counts.
        """
        with np.errstate(over="ignore", under="ignore"):
            epsilon = np.float32(zero_epsilon)
        if float(epsilon) > zero_epsilon:
            # The largest float32 that is not larger: the same elements are up to it.
            epsilon = np.nextafter(epsilon, np.float32(0))
        return cls(min=np.inf, max=-np.inf, epsilon=float(epsilon), bf16=1, f16=1)


class _Source(ctypes.Structure):
    """Mirrors ``source`` of decode.h."""

    _fields_ = (
        ("words", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("stride", "lines", "width")),
        *((name, ctypes.c_int32) for name in ("kind", "bits")),
        *((name, ctypes.c_void_p) for name in ("table", "zero", "scale", "bias")),
        ("factors", ctypes.c_int64),
        ("groups", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("group", "phase")),
    )


@dataclass(frozen=True)
class Lines:
    """Some lines of stored elements.

    Attributes:
        source: For the kernels.
        words: The words of the lines, 2-D.
        factors: The other arrays that ``source`` points into.
        shape: Lines, and elements of each.
        dtype: Key of `DTYPES`: the elements' type, or F32 for packed ones.
        transposed: Whether the lines are columns of the logical matrix.
    """

    source: _Source
    words: NDArray[Any]
    shape: tuple[int, int]
    factors: tuple[NDArray[Any], ...] = ()
    dtype: str = "F32"
    transposed: bool = False

    def decode(self) -> NDArray[np.float32]:
        """The elements of type F32, shape `shape`."""
        out = np.empty(self.shape, np.float32)
        _kernel("decode")(ctypes.byref(self.source), _address(out))
        return out

    def add(
        self,
        tally: Tally | None,
        bins: NDArray[np.uint32] | None,
        panel: NDArray[np.float64] | None,
    ) -> None:
        """Take elements of type F32 into everything that is given.

        Args:
            tally: Counts, extremes and sums.
            bins: Counts by leading bits, of at most 2**32 - 1 elements in all; shape
                (1, 2**BIN_BITS).
            panel: The elements as float64; contiguous, shape `shape`.
        """
        state = None if tally is None else ctypes.byref(tally)
        self._check(panel)
        _kernel("add")(ctypes.byref(self.source), state, _address(bins), _address(panel))

    def count(self, counts: NDArray[np.uint32] | None, panel: NDArray[np.float64] | None) -> None:
        """Take elements of at most 16 bits into everything that is given.

        Args:
            counts: Counts of their patterns, in tables that add up: shape (2, 65536) or (4, 256).
            panel: As for `add`.
        """
        self._check(panel)
        values = _address(_BYTES.get(self.dtype))
        _kernel("count")(ctypes.byref(self.source), _address(counts), values, _address(panel))

    def touch(self) -> None:
        """Have the system bring all pages of the words into memory."""
        words = self.words
        lines, nbytes = words.shape[0], words.itemsize * words.shape[1]
        if words.strides[0] == nbytes:
            lines, nbytes = 1, lines * nbytes
        sizes = (ctypes.c_int64(size) for size in (words.strides[0], lines, nbytes))
        _kernel("touch")(_address(words), *sizes)

    def _check(self, panel: NDArray[np.float64] | None) -> None:
        assert panel is None or (panel.shape == self.shape and panel.flags.c_contiguous)


def is_available() -> bool:
    """Whether the kernels are there."""
    return native.library("elements") is not None


def decodes(encoding: Encoding) -> bool:
    """Whether the kernels read this encoding, and are there."""
    known = {PLAIN: encoding.dtype in _STORED, "ggml": encoding.dtype in _BLOCKS}
    return known.get(encoding.kind, False) and is_available()


def lines_of(block: Encoded) -> Lines:
    """The lines that hold the elements of a block.

    Args:
        block: Of an encoding that `decodes` accepts. Columns begin where a block of ggml, or a
            word, begins.

    Raises:
        PackingError: The words are too few for the rows and columns.
    """
    return _READERS[block.encoding.kind](block)


def _plain(block: Encoded) -> Lines:
    dtype = block.encoding.dtype
    words = block.words[0][block.rows, block.cols]
    item = DTYPES[dtype].itemsize
    if words.shape != block.shape or (words.shape[1] > 1 and words.strides[1] != item):
        raise PackingError(f"words of {words.shape} and strides {words.strides} are no lines")
    source = _source(words, words.strides[0], block.shape, _STORED[dtype])
    return Lines(source, words, block.shape, dtype=dtype)


def _blocks(block: Encoded) -> Lines:
    elements, nbytes = _BLOCKS[block.encoding.dtype]
    cols = block.cols
    words = block.words[0][
        block.rows, cols.start // elements * nbytes : -(-cols.stop // elements) * nbytes
    ]
    lines, width = block.shape
    whole = words.dtype == np.uint8 and words.shape == (lines, width // elements * nbytes)
    if not whole or width % elements or cols.start % elements or words.strides[1] != 1:
        raise PackingError(f"{words.shape} bytes are no {width} columns of {block.encoding.dtype}")
    source = _source(words, words.strides[0], block.shape, block.encoding.dtype)
    return Lines(source, words, block.shape)


def _source(words: NDArray[Any], stride: int, shape: tuple[int, int], kind: str) -> _Source:
    lines, width = shape
    if stride == words.itemsize * words.shape[1]:
        # Without gaps, so that a tile need not end with a line.
        lines, width = 1, lines * width
    return _Source(
        words=words.ctypes.data, stride=stride, lines=lines, width=width, kind=_NUMBERS[kind]
    )


_READERS: dict[str, Callable[[Encoded], Lines]] = {PLAIN: _plain, "ggml": _blocks}


def _kernel(name: str) -> Any:
    library = native.library("elements")
    assert library is not None
    function = getattr(library, f"probe_elements_{name}")
    function.restype = None
    return function


def _address(array: NDArray[Any] | None) -> ctypes.c_void_p | None:
    return None if array is None else ctypes.c_void_p(array.ctypes.data)

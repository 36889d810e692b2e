"""The compiled kernels that read stored elements: decoded, counted and summed in one read."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import native
from mlx_probe.core.dtypes import DTYPES, decode

__all__ = ["Lines", "Source", "Tally", "Unit", "is_available"]


@dataclass(frozen=True)
class Unit:
    """What a kernel reads as one piece.

    Attributes:
        number: Its kind in decode.h.
        elements: Elements of a line in a unit.
        nbytes: Bytes of a unit.
        lines: Lines that share words.
        by_line: Whether a scale belongs to an element of each line; otherwise to a line.
    """

    number: int
    elements: int
    nbytes: int
    lines: int = 1
    by_line: bool = False


# Float64 values of all bytes of the 8-bit floats.
_BYTES = {
    dtype: decode(np.arange(256, dtype=np.uint8), dtype).astype(np.float64)
    for dtype in ("F8_E4M3", "F8_E5M2")
}


# Arrays of scales and what is added to them.
_FACTORS = ("zero", "scale", "bias")


class Tally(ctypes.Structure):
    """What a kernel knows of float32 elements so far; mirrors ``tally`` of elements.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("count", "nan", "inf", "zero", "small", "subnormal")),
        *((name, ctypes.c_double) for name in ("mean", "s2", "s3", "s4")),
        *((name, ctypes.c_float) for name in ("min", "max", "epsilon")),
        *((name, ctypes.c_int32) for name in ("bf16", "f16")),
        ("nonzero", ctypes.c_uint32),
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
        return cls(
            min=np.inf, max=-np.inf, epsilon=float(epsilon), bf16=1, f16=1, nonzero=2**32 - 1
        )


class Source(ctypes.Structure):
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
    """Some lines of stored elements; who makes it has checked all bounds.

    Attributes:
        source: For the kernels.
        unit: Of the words.
        words: The words of the lines, 2-D; the last axis is contiguous.
        factors: The other arrays that ``source`` points into.
        dtype: Key of `DTYPES`: the elements' type, or F32 for packed ones.
        transposed: Whether the lines are columns of the logical matrix.
    """

    source: Source
    unit: Unit
    words: NDArray[Any]
    factors: tuple[NDArray[Any], ...] = ()
    dtype: str = "F32"
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Lines, and elements of each."""
        return self.source.lines, self.source.width

    @property
    def is_plain(self) -> bool:
        """Whether the words are the elements."""
        return self.words.dtype == DTYPES[self.dtype].storage

    def part(self, axis: int, start: int, stop: int) -> Lines:
        """Some of the lines, or a part of each line.

        Args:
            axis: 0 for lines, 1 for elements of lines.
            start: The first, at the start of a unit.
            stop: One past the last.
        """
        unit, words = self.unit, self.words
        source = Source.from_buffer_copy(self.source)
        if axis == 0:
            words = words[start // unit.lines : -(-stop // unit.lines)]
            source.lines = stop - start
            moved = dict.fromkeys(_FACTORS, start * source.factors)
            if unit.by_line:
                moved = {"groups": start}
        else:
            per = unit.elements * words.itemsize
            words = words[:, start * unit.nbytes // per : -(-stop * unit.nbytes // per)]
            source.width, source.phase = stop - start, source.phase + start
            moved = dict.fromkeys(_FACTORS, start) if unit.by_line else {}
        source.words = words.ctypes.data
        for name, count in moved.items():
            # Null stays null. All of them are arrays of four bytes.
            if address := getattr(source, name):
                setattr(source, name, address + 4 * count)
        return replace(self, source=source, words=words)

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
            bins: Counts by leading bits, of at most 2**32 - 1 elements in all, in the order of
                `TableCounts` with rows of 256, gaps of 8, exchanged for negative numbers; shape
                (1, 4096, 264).
            panel: The elements as float64; contiguous, shape `shape`.
        """
        state = None if tally is None else ctypes.byref(tally)
        self._check(panel)
        _kernel("add")(ctypes.byref(self.source), state, _address(bins), _address(panel))

    def count(self, counts: NDArray[np.uint32] | None, panel: NDArray[np.float64] | None) -> None:
        """Take elements of at most 16 bits into everything that is given.

        Args:
            counts: Counts of their patterns, in tables that add up: shape
                (2, 1, 65536) or (4, 1, 256).
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


def _kernel(name: str) -> Any:
    library = native.library("elements")
    assert library is not None
    function = getattr(library, f"probe_elements_{name}")
    function.restype = None
    return function


def _address(array: NDArray[Any] | None) -> ctypes.c_void_p | None:
    return None if array is None else ctypes.c_void_p(array.ctypes.data)

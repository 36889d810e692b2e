"""Blocks of stored words as lines that the compiled kernels read.

Everything that a kernel trusts is checked here: no file, however its shapes and words contradict
each other, makes it read beyond an array. What does not fit is left to the packings, which know
what to say of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.native.elements import Lines, Source, Unit, is_available
from mlx_probe.core.dtypes import DTYPES, E2M1, as_float32
from mlx_probe.core.encoding import Encoded, Encoding

__all__ = ["decodes", "lines_of", "plain_lines", "reads"]

# In the order of decode.h.
_BLOCKS = {
    name: Unit(number, elements, nbytes)
    for number, (name, elements, nbytes) in enumerate(
        (
            *(("F32", 1, 4), ("F16", 1, 2), ("BF16", 1, 2), ("F8", 1, 1)),
            *(("Q4_0", 32, 18), ("Q4_1", 32, 20), ("Q5_0", 32, 22), ("Q5_1", 32, 24)),
            *(("Q8_0", 32, 34), ("Q2_K", 256, 84), ("Q3_K", 256, 110), ("Q4_K", 256, 144)),
            *(("Q5_K", 256, 176), ("Q6_K", 256, 210)),
        )
    )
}
_CODES, _COLUMNS, _INTERLEAVED = range(len(_BLOCKS), len(_BLOCKS) + 3)

# Types that are read as stored.
_STORED = {"F32": "F32", "F16": "F16", "BF16": "BF16", "F8_E4M3": "F8", "F8_E5M2": "F8"}

# AWQ's places of eight neighbours in a word.
_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)


def reads(dtype: str) -> bool:
    """Whether the kernels read plain elements of a type, and are there."""
    return dtype in _STORED and is_available()


def decodes(encoding: Encoding) -> bool:
    """Whether the kernels decode this encoding, and are there."""
    if encoding.kind not in _READERS or not is_available():
        return False
    if encoding.kind == "ggml":
        return encoding.dtype in _BLOCKS
    if encoding.kind == "scaled":
        return encoding.dtype == "E2M1" or encoding.dtype in _BYTES
    return encoding.bits in _WIDTHS[encoding.kind]


def plain_lines(stored: NDArray[Any], dtype: str) -> Lines | None:
    """Elements of a type that the kernels read; None if they are not in lines.

    Args:
        stored: Words, not empty, of at most two dimensions.
        dtype: Key of `DTYPES`.
    """
    words = stored if stored.ndim == 2 else stored.reshape(1, -1)
    unit = _BLOCKS[_STORED[dtype]]
    if words.dtype != DTYPES[dtype].storage or words.ndim != 2 or not _in_lines(words):
        return None
    return Lines(_source(words, unit, words.shape), unit, words, dtype=dtype)


def lines_of(block: Encoded) -> Lines | None:
    """The lines that hold the elements of a packed block; None if the kernels cannot read them.

    Args:
        block: Of an encoding that `decodes` accepts.
    """
    return _READERS[block.encoding.kind](block)


def _ggml(block: Encoded) -> Lines | None:
    unit, cols = _BLOCKS[block.encoding.dtype], block.cols
    if cols.start % unit.elements or cols.stop % unit.elements:
        return None
    words = block.words[0]
    first, last = (at // unit.elements * unit.nbytes for at in (cols.start, cols.stop))
    words = words[block.rows, first:last]
    if words.dtype != np.uint8 or words.shape != (block.shape[0], last - first):
        return None
    return Lines(_source(words, unit, block.shape), unit, words) if _in_lines(words) else None


def _affine(block: Encoded) -> Lines | None:
    group, cols = block.encoding.group, block.cols
    groups = _groups(cols, group)
    scale, bias = (
        as_float32(words[block.rows, groups], dtype)
        for words, dtype in zip(block.words[1:], block.dtypes[1:], strict=True)
    )
    return _codes(block, _integers(block.encoding.bits), scale, bias=bias)


def _signed(block: Encoded) -> Lines | None:
    form, bits = block.encoding, block.encoding.bits
    half, zero = np.float32(1 << (bits - 1)), None
    for stored in block.words[2:]:
        # Words of neighbouring rows.
        codes = stored.astype("<u4")[:, None] >> np.arange(0, 32, bits, dtype=np.uint32)[:, None]
        zeros = codes.reshape(-1, stored.shape[1])[block.rows, _groups(block.cols, form.group)]
        zero = (zeros & np.uint32((1 << bits) - 1)).astype(np.float32) - half
    return _codes(block, _integers(bits) - half, _grid(block), zero=zero)


def _scaled(block: Encoded) -> Lines | None:
    form = block.encoding
    scale = _grid(block)
    if form.factor:
        whole = as_float32(block.words[2], block.dtypes[2]).reshape(())
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            scale = scale / whole if form.factor == "divides" else scale * whole
    return _codes(block, E2M1 if form.dtype == "E2M1" else _BYTES[form.dtype], scale)


def _gemv(block: Encoded) -> Lines | None:
    _, qzeros, scales = block.words
    groups = _groups(block.cols, block.encoding.group)
    scale = as_float32(scales[block.rows, groups], block.dtypes[2])
    zero = _nibbles(qzeros[block.rows])[:, groups].astype(np.float32)
    return _codes(block, _integers(4), scale, zero=zero)


def _gptq(block: Encoded) -> Lines | None:
    form, rows, cols = block.encoding, block.rows, block.cols
    qweight, qzeros, scales, *order = block.words
    numbers = order[0][cols] if order else np.arange(cols.start, cols.stop) // form.group
    low, high = int(numbers.min()), int(numbers.max()) + 1
    if low < 0 or high > min(len(scales), len(qzeros)):
        return None
    stored, bits = np.ascontiguousarray(qzeros[low:high]).view(np.uint8), form.bits
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    zeros = ((stored[..., None] >> shifts) + np.uint8(form.zero_offset)) & np.uint8((1 << bits) - 1)
    zero = zeros.reshape(len(stored), -1)[:, rows].astype(np.float32)
    per = 32 // bits
    words = qweight[cols.start // per : -(-cols.stop // per), rows]
    unit = Unit(_COLUMNS, 1, 4, lines=per, by_line=True)
    return _by_line(
        block, unit, words, numbers - low, zero, as_float32(scales[low:high, rows], block.dtypes[2])
    )


def _gemm(block: Encoded) -> Lines | None:
    rows, cols = block.rows, block.cols
    if rows.start % 8 or rows.stop % 8:
        return None
    qweight, qzeros, scales = block.words
    groups = _groups(cols, block.encoding.group)
    numbers = np.arange(cols.start, cols.stop) // block.encoding.group - groups.start
    span = slice(rows.start // 8, rows.stop // 8)
    zeros = _nibbles(qzeros[groups, span])
    zero = zeros.reshape(len(zeros), -1, 8)[..., _PLACES].reshape(len(zeros), -1)
    scale = as_float32(scales[groups, rows], block.dtypes[2])
    unit = Unit(_INTERLEAVED, 8, 4, by_line=True)
    return _by_line(block, unit, qweight[cols, span], numbers, zero.astype(np.float32), scale)


_READERS: dict[str, Callable[[Encoded], Lines | None]] = {
    "ggml": _ggml,
    "mlx_affine": _affine,
    "signed": _signed,
    "scaled": _scaled,
    "gptq": _gptq,
    "awq_gemm": _gemm,
    "awq_gemv": _gemv,
}

# Widths of integer codes.
_WIDTHS = {
    **dict.fromkeys(("mlx_affine", "signed"), (4, 8)),
    "gptq": (2, 4, 8),
    **dict.fromkeys(("awq_gemm", "awq_gemv"), (4,)),
}

# Float32 values of all bytes of elements that have scales.
_BYTES = {
    "I8": np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32),
    **{name: as_float32(np.arange(256, dtype=np.uint8), name) for name in ("F8_E4M3", "F8_E5M2")},
}


def _codes(
    block: Encoded,
    values: NDArray[np.float32],
    scale: NDArray[np.float32],
    zero: NDArray[np.float32] | None = None,
    bias: NDArray[np.float32] | None = None,
) -> Lines | None:
    """Lines of codes with factors for groups of columns.

    Args:
        block: The block; codes are in its first piece.
        values: Of all codes.
        scale: Shape (rows, groups), or (1, groups) for all rows.
        zero: As ``scale``.
        bias: As ``scale``.
    """
    (lines, width), cols = block.shape, block.cols
    bits = 4 if len(values) == 16 else 8
    words = block.words[0][block.rows].reshape(lines, -1)
    item = words.itemsize
    if cols.start * bits % (8 * item):
        return None
    first = cols.start * bits // (8 * item)
    words = words[:, first : first - (-width * bits // (8 * item))]
    factors = [scale, *(each for each in (zero, bias) if each is not None)]
    group = block.encoding.group
    needed = -(-cols.stop // group) - cols.start // group
    short = any(each.shape not in ((lines, needed), (1, needed)) for each in factors)
    if (
        short
        or words.shape[1] * item * 8 < width * bits
        or width * bits % 8
        or not _in_lines(words)
    ):
        return None
    # The numbers of both codes of a byte, so that one look finds two.
    byte = np.arange(256)
    table = values[np.stack((byte & 15, byte >> 4), axis=1)] if bits == 4 else values
    arrays = {
        name: np.ascontiguousarray(each, np.float32)
        for name, each in (("table", table), ("scale", scale), ("zero", zero), ("bias", bias))
        if each is not None
    }
    unit = Unit(_CODES, 8 // bits, 1)
    source = _source(words, unit, block.shape, arrays)
    source.bits, source.group, source.phase = bits, group, cols.start % group
    source.factors = 0 if len(scale) == 1 else needed
    return Lines(source, unit, words, tuple(arrays.values()))


def _by_line(
    block: Encoded,
    unit: Unit,
    words: NDArray[Any],
    groups: NDArray[np.integer[Any]],
    zero: NDArray[np.float32],
    scale: NDArray[np.float32],
) -> Lines | None:
    """Lines that are columns of the matrix, with a factor of their group for each row.

    Args:
        block: The block.
        unit: Of the words.
        words: int32; shape (columns / `Unit.lines`, rows / `Unit.elements`).
        groups: The group of each column, shape (columns,).
        zero: Shape (groups, rows).
        scale: Shape (groups, rows).
    """
    (width, lines), count = block.shape, int(groups.max()) + 1
    whole = (-(-lines // unit.lines), width // unit.elements)
    if words.shape != whole or words.itemsize != 4 or block.cols.start % unit.lines:
        return None
    if groups.shape != (lines,) or {zero.shape, scale.shape} != {(len(scale), width)}:
        return None
    if len(scale) < count:
        return None
    words = words if _in_lines(words) else np.ascontiguousarray(words)
    arrays = {
        "scale": np.ascontiguousarray(scale),
        "zero": np.ascontiguousarray(zero),
        "groups": np.ascontiguousarray(groups, np.int32),
    }
    source = _source(words, unit, (lines, width), arrays)
    source.bits, source.factors = 32 // unit.lines, width
    return Lines(source, unit, words, tuple(arrays.values()), transposed=True)


def _source(
    words: NDArray[Any],
    unit: Unit,
    shape: tuple[int, ...],
    arrays: dict[str, NDArray[Any]] | None = None,
) -> Source:
    lines, width = shape
    addresses = {name: array.ctypes.data for name, array in (arrays or {}).items()}
    return Source(
        **{"words": words.ctypes.data, "stride": words.strides[0], "kind": unit.number},
        **{"lines": lines, "width": width},
        **addresses,
    )


def _grid(block: Encoded) -> NDArray[np.float32]:
    """Scales of the second piece by row and group of columns; one row if all rows share them."""
    form = block.encoding
    down = -(-len(block.words[0]) // form.lines)
    grid = block.words[1].reshape(down, -1)[:, _groups(block.cols, form.group)]
    if len(grid) > 1:
        grid = grid[np.arange(block.rows.start, block.rows.stop) // form.lines]
    return as_float32(grid, form.scale)


def _groups(cols: slice, group: int) -> slice:
    """The groups that hold some columns."""
    return slice(cols.start // group, -(-cols.stop // group))


def _integers(bits: int) -> NDArray[np.float32]:
    return np.arange(1 << bits, dtype=np.float32)


def _nibbles(words: NDArray[Any]) -> NDArray[np.uint8]:
    """Codes of 4 bits, from the lowest bit of the first word up; shape (lines, codes)."""
    data: NDArray[np.uint8] = np.ascontiguousarray(words).view(np.uint8)
    return np.stack((data & 15, data >> 4), axis=-1).reshape(len(data), -1)


def _in_lines(words: NDArray[Any]) -> bool:
    """Whether elements of a line follow each other, and lines do not go backwards."""
    return words.size > 0 and words.strides[0] >= 0 and words[:1].flags.c_contiguous

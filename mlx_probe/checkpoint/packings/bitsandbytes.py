"""bitsandbytes: 4-bit codes of a table (NF4, FP4) in flat blocks, and int8 with row scales.

The 4-bit matrix is flattened, two codes in a byte, the first one in the upper half. Every block
of it has an ``absmax``, which is itself an 8-bit code if statistics are nested. The tables are
tensors too; a tensor of JSON text holds the shape and the block sizes.

Source: Dettmers et al. 2023, "QLoRA" (arXiv 2305.14314) and 2022, "LLM.int8()" (arXiv
2208.07339); the layout is that of bitsandbytes 0.50 (``functional.QuantState`` and
``backends/default/ops.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.checks import missing, require_piece
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.encoding import Encoding
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

TYPES = ("nf4", "fp4")
# Types that 4-bit codes may be stored as: sharded training needs floats.
_STORAGE = ("U8", "I8", "BF16", "F16", "F32")
_PIECES = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")
_HUGE = 1e38
# The reference multiplies by this number; division by 127 would round differently.
_INT8_STEP = np.float32(7.874015718698502e-3)


@dataclass(frozen=True)
class _State:
    """The settings in the JSON of a 4-bit weight.

    Attributes:
        kind: One of `TYPES`.
        shape: Logical shape.
        block: Elements that share an absmax.
        nested_block: Blocks that share a nested absmax; 0 if statistics are not nested.
        offset: Added to every nested absmax.
    """

    kind: str
    shape: tuple[int, int]
    block: int
    nested_block: int
    offset: float


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """A weight that has a state (4 bits) or ``SCB`` (8 bits)."""
    name = tensor.name
    ends = [f"bitsandbytes__{kind}" for kind in TYPES]
    is_there = not context.ends.isdisjoint(ends)
    states = context.find(*(f"{name}.quant_state.{end}" for end in ends)) if is_there else ()
    if states:
        others = context.find(*(f"{name}.{piece}" for piece in _PIECES))
        return Claim(name, (tensor, *others), states)
    base = name.removesuffix("weight")
    if tensor.dtype != "I8" or base == name:
        return None
    scales = context.find(f"{base}SCB")
    return Claim(name, (tensor, *scales), context.find(f"{base}weight_format")) if scales else None


def layout(claim: Claim, context: Context) -> Layout:
    """Rows of int8, or 4-bit codes of the shape in the state; see `Scheme.layout`."""
    if any(piece.name.endswith("SCB") for piece in claim.pieces[1:]):
        return _int8(claim, context)
    state = _state(claim, context)
    weight, *others = claim.pieces
    pieces = {piece.name.removeprefix(f"{weight.name}."): piece for piece in others}
    nested = state.nested_block > 0
    missing(claim, *(_PIECES if nested else _PIECES[:2]))
    if nested != (len(others) == len(_PIECES)):
        raise PackingError(f"{claim.name}: nested statistics, which the quant_state denies")
    count = prod(state.shape)
    if weight.strides is not None or weight.nbytes != -(-count // 2):
        raise PackingError(
            f"{weight.name}: {weight.nbytes} bytes do not hold 4 bits of {list(state.shape)}"
        )
    require_piece(weight, _STORAGE, weight.shape)
    blocks = -(-count // state.block)
    require_piece(pieces["absmax"], ("U8",) if nested else ("F32",), (blocks,), (blocks, 1))
    require_piece(pieces["quant_map"], ("F32",), (16,))
    if nested:
        require_piece(pieces["nested_quant_map"], ("F32",), (256,))
        count = -(-blocks // state.nested_block)
        require_piece(pieces["nested_absmax"], ("F32",), (count,), (count, 1))
    detail = f"{state.kind}, block {state.block}{', nested' if nested else ''}"
    # The pieces are flat: rows are not one of their axes.
    encoding = _encoding(state)
    decode = partial(_decode, state=state)
    return Layout(state.shape, detail, decode, row_major=False, encoding=encoding)


def _encoding(state: _State) -> Encoding | None:
    """None if a row starts in the middle of a block."""
    width = state.shape[1]
    if not width or width % 2 or width % state.block:
        return None
    return Encoding(
        "table",
        bits=4,
        group=state.block,
        width=width,
        nested=state.nested_block,
        offset=state.offset,
    )


def _state(claim: Claim, context: Context) -> _State:
    """Read the state, in which a hostile file may have anything."""
    stored = claim.extra[0]
    require_piece(stored, ("U8",), stored.shape)
    try:
        entries = json.loads(context.read(stored))
    except (ValueError, RecursionError) as error:
        raise PackingError(f"{stored.name}: not JSON: {error}") from error
    if not isinstance(entries, Mapping):
        raise PackingError(f"{stored.name}: not a JSON object")
    shape = entries.get("shape")
    if not isinstance(shape, list) or len(shape) != 2:
        raise PackingError(f"{stored.name}: shape {shape!r}; a matrix is expected")
    nested = "nested_blocksize" in entries
    offset = entries.get("nested_offset", 0.0)
    if type(offset) not in (int, float) or not -_HUGE < offset < _HUGE:
        raise PackingError(f"{stored.name}: nested_offset cannot be {offset!r}")
    rows, cols = (_extent(stored, "shape", extent, 0) for extent in shape)
    return _State(
        kind=stored.name.rpartition("__")[2],
        shape=(rows, cols),
        block=_extent(stored, "blocksize", entries.get("blocksize"), 1),
        nested_block=_extent(stored, "nested_blocksize", entries["nested_blocksize"], 1)
        if nested
        else 0,
        offset=float(offset),
    )


def _extent(stored: TensorInfo, key: str, value: Any, least: int) -> int:
    if type(value) is not int or not least <= value < 1 << 48:
        raise PackingError(f"{stored.name}: {key} cannot be {value!r}")
    return value


def _int8(claim: Claim, context: Context) -> Layout:
    weight, scales = claim.pieces
    if len(weight.shape) not in (2, 3):
        raise PackingError(f"{weight.name} has the shape {list(weight.shape)}, no matrix")
    *lines, _ = weight.shape
    require_piece(weight, ("I8",), weight.shape)
    require_piece(scales, ("F32",), tuple(lines), (*lines, 1))
    for form in claim.extra:
        # Zero means "row". The tiled layouts of early versions depend on the GPU.
        if any(context.read(form)):
            raise PackingError(f"{form.name}: only int8 weights in rows are supported")
    return Layout(weight.shape, "int8, a scale for each row", _decode_int8)


def _decode_int8(pieces: Sequence[Piece], rows: Index, cols: slice) -> NDArray[np.float32]:
    weight, scales = pieces
    values = weight.values(rows, cols)
    with np.errstate(over="ignore", invalid="ignore"):
        values *= scales.values(rows).reshape(-1, 1)
        values *= _INT8_STEP
    return values


def _decode(
    pieces: Sequence[Piece], rows: Index, cols: slice, state: _State
) -> NDArray[np.float32]:
    weight, absmax, table, *nested = pieces
    width, count = state.shape[1], cols.stop - cols.start
    starts = positions(rows).astype(np.int64) * width + cols.start
    codes = _nibbles(weight.words.reshape(-1).view(np.uint8), rows, starts, cols, width)
    values: NDArray[np.float32] = np.take(table.values(), codes)
    # Blocks cross the ends of rows: a row may start and end inside a block.
    firsts, within = np.divmod(starts, state.block)
    reach = np.arange(-(-(count + int(within.max())) // state.block))
    last = absmax.words.size - 1
    scales = _absmax(absmax, nested, np.minimum(firsts[:, None] + reach, last), state)
    with np.errstate(over="ignore", invalid="ignore"):
        if (within == within[0]).all():
            values *= scales[:, (within[0] + np.arange(count)) // state.block]
        else:
            blocks = (within[:, None] + np.arange(count)) // state.block
            values *= np.take_along_axis(scales, blocks, axis=1)
    return values


def _nibbles(
    data: NDArray[np.uint8], rows: Index, starts: NDArray[np.int64], cols: slice, width: int
) -> NDArray[np.uint8]:
    """The codes of a block, shape (rows, cols); its rows start at the flat indices ``starts``."""
    count = cols.stop - cols.start
    if width % 2 == 0:
        stored = data.reshape(-1, width // 2)[rows, cols.start // 2 : -(-cols.stop // 2)]
        codes: NDArray[np.uint8] = np.stack((stored >> 4, stored & 15), axis=-1)
        return codes.reshape(len(stored), -1)[:, :count]
    # With an odd width, rows start in the middle of a byte.
    flat = starts[:, None] + np.arange(count)
    both: NDArray[np.uint8] = data[flat >> 1]
    return np.where(flat & 1, both & 15, both >> 4)


def _absmax(
    absmax: Piece, nested: Sequence[Piece], blocks: NDArray[np.int64], state: _State
) -> NDArray[np.float32]:
    """The scales of blocks, given their numbers."""
    stored = Piece(absmax.words.reshape(-1), absmax.dtype)
    if not nested:
        return stored.values(blocks)
    outer, table = nested
    codes = stored.words[blocks]
    numbers = blocks // state.nested_block
    with np.errstate(over="ignore", invalid="ignore"):
        scales: NDArray[np.float32] = np.take(table.values(), codes)
        scales *= outer.words.reshape(-1)[numbers]
        scales += np.float32(state.offset)
    return scales

"""EXL2: codes of 2 to 8 bits, a width for each group of inputs, with scales of four bits.

Inputs are sorted by importance; ``q_invperm`` has the place of each. A group of them begins at the
row of words that ``q_groups`` names, where the codes of one output follow each other from the
lowest bit up. The scale of a group and output is ``(code + 1) ** 2 / 256`` of the group's
``q_scale_max``, rounded to float16 as its readers do. Outputs are padded to a multiple of 32.

Source: exllamav2 0.3 (``conversion/adaptivegptq.py``, ``exllamav2_ext/cuda/pack_tensor.cu``,
``q_matrix.cu`` and ``quant/qdq_util.cuh``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.checkpoint.packings.bits import codes_at
from mlx_probe.checkpoint.packings.checks import missing, require_piece
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

_CODES = "q_weight"
_PIECES = ("q_invperm", "q_scale", "q_scale_max", "q_groups")
# Made from the others when a model is loaded; some writers store them.
_EXTRA = ("q_perm", "q_group_map")
_WIDTHS = (2, 3, 4, 5, 6, 8)
_SCALE_BITS = 4
_PADDED_TO = 32


@dataclass(frozen=True)
class _Groups:
    """The groups of inputs, in the sorted order.

    Attributes:
        bits: Width of a code, by group.
        words: First row of words, by group.
        inputs: First input, by group.
    """

    bits: NDArray[np.intp]
    words: NDArray[np.intp]
    inputs: NDArray[np.intp]


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """Words called ``q_weight`` beside ``q_groups``."""
    base = tensor.name.removesuffix(_CODES)
    if tensor.dtype != "I32" or base == tensor.name or base[-1:] not in ("", "."):
        return None
    if f"{base}q_groups" not in context.tensors:
        return None
    pieces = context.find(*(f"{base}{piece}" for piece in _PIECES))
    extra = context.find(*(f"{base}{piece}" for piece in _EXTRA))
    return Claim(f"{base}weight", (tensor, *pieces), extra)


def layout(claim: Claim, context: Context) -> Layout:
    """Words of sorted inputs and outputs are (out, in) weights; see `Scheme.layout`."""
    missing(claim, *_PIECES)
    codes, order, scale, largest, groups = claim.pieces
    if len(codes.shape) != 2 or len(order.shape) != 1:
        raise PackingError(f"{codes.name} has the shape {list(codes.shape)}, no matrix")
    height, width = codes.shape
    cols, count = order.shape[0], groups.numel // 2
    require_piece(codes, ("I32",), codes.shape)
    require_piece(order, ("I32", "I16", "U16"), order.shape)
    require_piece(scale, ("I32",), (count, width * _SCALE_BITS // 32))
    require_piece(largest, ("F16",), (count,))
    require_piece(groups, ("I16", "U16"), (2 * count,))
    if width % _PADDED_TO:
        raise PackingError(f"{codes.name}: {width} outputs are not padded to {_PADDED_TO}")
    table = _groups(claim, np.frombuffer(context.read(groups), "<u2"), height, cols)
    widths = sorted(set(table.bits.tolist()))
    detail = f"{' and '.join(map(str, widths))} bit, {count} groups"
    shape = _outputs(claim, width, context), cols
    decode = partial(_decode, name=claim.name, groups=table)
    return Layout(shape, detail, decode, row_major=False)


def _groups(claim: Claim, stored: NDArray[np.uint16], height: int, cols: int) -> _Groups:
    """The groups, whose inputs follow from the rows of words up to the next group's."""
    bits, words = stored.reshape(-1, 2).astype(np.intp).T
    ends = np.append(words[1:], height)
    if not len(bits) or words[0] or (ends < words).any() or not np.isin(bits, _WIDTHS).all():
        raise PackingError(f"{claim.name}: q_groups are no groups of {height} rows of words")
    inputs, rest = np.divmod((ends - words) * 32, bits)
    if rest.any() or not inputs.all() or inputs.sum() != cols:
        raise PackingError(f"{claim.name}: q_groups do not hold {cols} inputs in {height} rows")
    starts = np.append(0, np.cumsum(inputs[:-1]))
    return _Groups(bits, words, starts)


def _outputs(claim: Claim, width: int, context: Context) -> int:
    """Outputs without padding; only vocabularies are no multiple of 32."""
    if classify(claim.name).block_type != "output":
        return width
    tokens = context.vocabulary
    if tokens is None or not 0 <= width - tokens < _PADDED_TO:
        raise PackingError(
            f"{claim.name}: {width} rows with their padding; config.json's vocab_size is {tokens}"
        )
    return tokens


def _decode(
    pieces: Sequence[Piece], rows: Index, cols: slice, name: str, groups: _Groups
) -> NDArray[np.float32]:
    codes, order, scale, largest, _ = pieces
    place = order.words[cols].astype(np.intp)
    if len(place) and not 0 <= place.min() <= place.max() < len(order.words):
        raise PackingError(f"{name}: q_invperm names places that do not exist")
    group = np.searchsorted(groups.inputs, place, "right") - 1
    bits = groups.bits[group]
    word, shift = np.divmod((place - groups.inputs[group]) * bits, 32)
    word += groups.words[group]
    words, shift = codes.words.view("<u4"), shift.astype(np.uint32)[:, None]
    # A gather of these outputs only: all of a row would be the whole matrix.
    outputs = positions(rows)
    values = words[word[:, None], outputs] >> shift
    # Codes that end in the next word.
    split = np.flatnonzero(shift[:, 0] + bits > 32)
    values[split] |= words[word[split, None] + 1, outputs] << (32 - shift[split])
    values &= ((1 << bits) - 1).astype(np.uint32)[:, None]
    numbers = values.astype(np.float32)
    numbers -= (1 << (bits - 1)).astype(np.float32)[:, None]
    steps = codes_at(scale.words, outputs, _SCALE_BITS).astype(np.float32) + 1
    with np.errstate(over="ignore", invalid="ignore"):
        unit = (largest.words * np.float16(1 / 256)).astype(np.float32)
        # Readers have no more than float16 here.
        scales = (steps * steps * unit[:, None]).astype(np.float16).astype(np.float32)
        numbers *= scales[group]
    block: NDArray[np.float32] = numbers.T
    return block

"""GPTQ: codes packed along the inputs in ``qweight``, with ``scales`` and ``qzeros`` by groups.

All three have the inputs, or their groups, on the first axis. Bit widths and group sizes are
told by the shapes, because config.json may override both for single modules; where shapes fit
several widths, its ``bits`` chooses. The checkpoint format "gptq" (v1) stores every zero point
less one, "gptq_v2" as it is. A v1 code of all ones is the zero point 0, as in AutoGPTQ: the
writer's subtraction wraps within the code, and so does the addition here.

Source: Frantar et al. 2022, "GPTQ" (arXiv 2210.17323); the layout is that of AutoGPTQ 0.7
(``nn_modules/qlinear``) and GPTQModel 7.7 (``utils/model_dequant.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.bits import codes_at, unpack_bits
from mlx_probe.checkpoint.packings.protocol import (
    Claim,
    Context,
    Index,
    Layout,
    Piece,
    missing,
    positions,
    require_piece,
)
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = [
    "SCALE_DTYPES",
    "claim",
    "column_groups",
    "group_size",
    "layout",
]

WIDTHS = (2, 3, 4, 8)
SCALE_DTYPES = ("F16", "BF16", "F32")
# By checkpoint format: what the stored zero points lack.
ZERO_OFFSETS = {"gptq": 1, "gptq_v2": 0}
# Settings for single modules, of GPTQModel and AutoRound: the shapes overrule the model's.
_OVERRIDES = ("dynamic", "extra_config")


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """Words called ``qweight``; asked after AWQ, whose names are the same."""
    base = tensor.name.removesuffix("qweight")
    if tensor.dtype != "I32" or base == tensor.name or base[-1:] not in ("", "."):
        return None
    found = context.find(f"{base}qzeros", f"{base}scales")
    order = context.find(f"{base}g_idx")
    if not found:
        return None
    # Writers without act-order may leave an empty order.
    filled = tuple(piece for piece in order if piece.numel)
    extra = tuple(piece for piece in order if not piece.numel)
    return Claim(f"{base}weight", (tensor, *found, *filled), extra)


def layout(claim: Claim, context: Context) -> Layout:
    """(in, out) codes in words are (out, in) weights; see `Packing.layout`."""
    settings = context.settings
    # AutoRound has no format of its own, and the zero points of v1.
    form = settings.get("checkpoint_format") or settings.get("format") or "gptq"
    if not isinstance(form, str) or form not in ZERO_OFFSETS:
        raise PackingError(f"{claim.name}: the GPTQ format {form!r} is not supported")
    missing(claim, "qzeros", "scales")
    qweight, qzeros, scales, *order = claim.pieces
    if len(qweight.shape) not in (2, 3):
        raise PackingError(f"{qweight.name} has the shape {list(qweight.shape)}, no matrix")
    *stack, words, rows = qweight.shape
    expected = [len(qweight.shape)] * 2 + [len(stack) + 1] * len(order)
    if [len(piece.shape) for piece in (qzeros, scales, *order)] != expected:
        raise PackingError(f"{claim.name}: qweight and its pieces differ in their dimensions")
    groups = scales.shape[-2]
    bits = _bits(claim, settings)
    cols = order[0].shape[-1] if order else words * 32 // bits
    require_piece(qweight, ("I32",), qweight.shape)
    require_piece(scales, SCALE_DTYPES, (*stack, groups, rows))
    require_piece(qzeros, ("I32",), (*stack, groups, -(-rows * bits // 32)))
    for piece in order:
        require_piece(piece, ("I32", "I64"), (*stack, cols))
    group = group_size(claim.name, cols, groups, settings)
    decode = partial(
        _decode, name=claim.name, bits=bits, group=group, zero_offset=ZERO_OFFSETS[form]
    )
    return Layout((*stack, rows, cols), f"{bits} bit, group {group}", decode, row_major=False)


def _bits(claim: Claim, settings: Mapping[str, Any]) -> int:
    """The one width that fits the shapes, or of several the one that config.json names."""
    qweight, qzeros, _, *order = claim.pieces
    words, rows = qweight.shape[-2:]
    cols = order[0].shape[-1] if order else None
    fitting = [
        bits
        for bits in WIDTHS
        # Three bits straddle words: 32 codes are whole again.
        if (bits != 3 or words % 3 == 0)
        and -(-rows * bits // 32) == qzeros.shape[-1]
        # A vocabulary that is an input may be padded to 32.
        and (cols is None or 0 <= words * 32 // bits - cols < 32)
    ]
    given = settings.get("bits")
    if given in fitting and type(given) is int:
        return given
    if type(given) is int and not any(key in settings for key in _OVERRIDES):
        raise PackingError(
            f"{claim.name}: config.json has {given} bits, which do not fit qweight "
            f"{list(qweight.shape)} and qzeros {list(qzeros.shape)}"
        )
    if len(fitting) != 1:
        found = " or ".join(map(str, fitting)) or "none of 2, 3, 4 and 8"
        raise PackingError(
            f"{claim.name}: bits that fit the shapes are {found}; config.json has to tell"
        )
    return fitting[0]


def group_size(name: str, cols: int, groups: int, settings: Mapping[str, Any]) -> int:
    """Columns that share a scale: config.json's ``group_size`` if it fits, else what fits.

    Args:
        name: The weight, for messages.
        cols: Columns of the logical matrix.
        groups: Groups that they have.
        settings: config.json's ``quantization_config``; -1 there is one group.

    Raises:
        PackingError: Settings and shapes contradict, or the groups would differ in size.
    """
    given = settings.get("group_size", settings.get("q_group_size"))
    if given == -1:
        given = max(cols, 1)
    if type(given) is int and given > 0:
        # The last group of GPTQ may be shorter.
        if -(-cols // given) == groups:
            return given
        if not any(key in settings for key in _OVERRIDES):
            raise PackingError(
                f"{name}: {groups} groups of {given}, as config.json has it, are not {cols} columns"
            )
    elif given is not None:
        raise PackingError(f"{name}: config.json: group_size cannot be {given!r}")
    if not 0 < groups <= cols or cols % groups:
        raise PackingError(f"{name}: {cols} columns are not {groups} groups of one size")
    return cols // groups


def column_groups(
    order: Sequence[Piece], cols: slice, group: int, groups: int, name: str
) -> NDArray[np.intp]:
    """The group of each column.

    Args:
        order: ``g_idx``, or nothing if the groups follow each other.
        cols: The columns.
        group: Columns in a group.
        groups: How many groups there are.
        name: The weight, for messages.

    Raises:
        PackingError: ``g_idx`` names groups that are not there.
    """
    if not order:
        return positions(cols) // group
    numbers = order[0].words[cols].astype(np.intp)
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high >= groups:
        wrong = low if low < 0 else high
        raise PackingError(f"{name}: g_idx names group {wrong} of {groups}")
    return numbers


def _decode(
    pieces: Sequence[Piece],
    rows: Index,
    cols: slice,
    name: str,
    bits: int,
    group: int,
    zero_offset: int,
) -> NDArray[np.float32]:
    qweight, qzeros, scales, *order = pieces
    groups = column_groups(order, cols, group, len(scales.words), name)
    # Only the groups at hand: a stack of thousands of them need not be decoded for a few.
    base = int(groups.min())
    span = slice(base, int(groups.max()) + 1)
    groups = groups - base
    # 32 codes fill as many words as a code has bits.
    words = slice(cols.start // 32 * bits, -(-cols.stop // 32) * bits)
    codes = unpack_bits(np.ascontiguousarray(qweight.words[words, rows].T), bits)
    values = codes[:, : cols.stop - cols.start].astype(np.float32)
    zeros = codes_at(qzeros.words[span], positions(rows), bits)
    zeros = (zeros + np.uint8(zero_offset)) & np.uint8((1 << bits) - 1)
    values -= zeros.T[:, groups]
    with np.errstate(over="ignore", invalid="ignore"):
        values *= scales.values(span, rows).T[:, groups]
    return values

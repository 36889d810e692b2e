"""GPTQ: codes packed along the inputs in ``qweight``, with ``scales`` and ``qzeros`` by groups.

The first axis of all three is the inputs, or their groups. Bit widths and group sizes come from
the shapes, because config.json may override both for single modules. If the shapes fit several
widths, its ``bits`` decides. The checkpoint format "gptq" (v1) stores every zero point minus one,
"gptq_v2" stores it unchanged. A v1 code of all ones is the zero point 0, as in AutoGPTQ: the
writer's subtraction wraps within the code, and so does the addition here. AutoRound has both by its
``packing_format``.

Source: Frantar et al. 2022, "GPTQ" (arXiv 2210.17323); the layout is that of AutoGPTQ 0.7
(``nn_modules/qlinear``) and GPTQModel 7.7 (``utils/model_dequant.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings import auto_round
from mlx_probe.checkpoint.packings.bits import codes_at, unpack_bits
from mlx_probe.checkpoint.packings.checks import missing, require_piece
from mlx_probe.checkpoint.packings.groups import (
    OVERRIDES,
    SCALE_DTYPES,
    claim_qweight,
    column_groups,
    group_size,
)
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.encoding import Encoding
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

# AutoRound writes all of them, the others 2, 3, 4 and 8.
WIDTHS = (2, 3, 4, 5, 6, 7, 8)
# By checkpoint format: what is added to the stored zero points.
ZERO_OFFSETS = {"gptq": 1, "gptq_v2": 0}


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """Words called ``qweight`` that AWQ, which has the same names, did not claim."""
    return claim_qweight(tensor, context)


def layout(claim: Claim, context: Context) -> Layout:
    """Words of (in, out) codes are (out, in) weights; see `Scheme.layout`."""
    settings = context.settings
    zero_offset = _zero_offset(claim.name, settings)
    missing(claim, "qzeros", "scales")
    qweight, qzeros, scales, *order = claim.pieces
    ordered = settings.get("desc_act", settings.get("quant_method") == "gptq")
    if ordered is not False and not order:
        raise PackingError(f"{claim.name}: g_idx missing; config.json: desc_act is not false")
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
    decode = partial(_decode, name=claim.name, bits=bits, group=group, zero_offset=zero_offset)
    return Layout(
        (*stack, rows, cols),
        f"{bits} bit, group {group}",
        decode,
        row_major=False,
        encoding=Encoding("gptq", bits=bits, group=group, zero_offset=zero_offset),
    )


def _zero_offset(name: str, settings: Mapping[str, Any]) -> int:
    """What is added to stored zero points, by the format that config.json names."""
    method = settings.get("quant_method")
    if method in auto_round.METHODS:
        form: object = auto_round.layout_of(settings)
        shown = f"AutoRound's packing_format {settings.get('packing_format')!r}"
    else:
        form = settings.get("checkpoint_format") or settings.get("format")
        form = "marlin" if settings.get("is_marlin_format") else form
        if form is None and method is None:
            raise PackingError(
                f"{name}: config.json must name the method: zero points may be stored minus one "
                "(checkpoint_format gptq) or unchanged (gptq_v2)"
            )
        # Writers before GPTQModel name no format.
        form = settings.get("packing_format", form or "gptq")
        shown = f"the GPTQ format {form!r}"
    if not isinstance(form, str) or form not in ZERO_OFFSETS:
        raise PackingError(f"{name}: {shown} is not supported")
    return ZERO_OFFSETS[form]


def _bits(claim: Claim, settings: Mapping[str, Any]) -> int:
    """The width that fits the shapes; if several do, the one that config.json names."""
    qweight, qzeros, _, *order = claim.pieces
    words, rows = qweight.shape[-2:]
    cols = order[0].shape[-1] if order else None
    fitting = [
        bits
        for bits in WIDTHS
        # Codes that cross the ends of words: only 32 of them fill whole words.
        if (32 % bits == 0 or words % bits == 0)
        and -(-rows * bits // 32) == qzeros.shape[-1]
        # Inputs may be padded to a multiple of 32 (vocabularies).
        and (cols is None or 0 <= words * 32 // bits - cols < 32)
    ]
    given = settings.get("bits")
    if given in fitting and type(given) is int:
        return given
    if type(given) is int and not any(key in settings for key in OVERRIDES):
        raise PackingError(
            f"{claim.name}: config.json has {given} bits, which do not fit qweight "
            f"{list(qweight.shape)} and qzeros {list(qzeros.shape)}"
        )
    if len(fitting) != 1:
        widths = " or ".join(map(str, fitting)) or "none of 2 to 8"
        raise PackingError(
            f"{claim.name}: bits that fit the shapes are {widths}; config.json must name them"
        )
    return fitting[0]


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
    # Only the groups of these columns: thousands of them need not be decoded for a few.
    base = int(groups.min())
    span = slice(base, int(groups.max()) + 1)
    groups = groups - base
    # The number of words that 32 codes fill is the bits of a code.
    words = slice(cols.start // 32 * bits, -(-cols.stop // 32) * bits)
    codes = unpack_bits(np.ascontiguousarray(qweight.words[words, rows].T), bits)
    values = codes[:, : cols.stop - cols.start].astype(np.float32)
    zeros = codes_at(qzeros.words[span], positions(rows), bits)
    zeros = (zeros + np.uint8(zero_offset)) & np.uint8((1 << bits) - 1)
    values -= zeros.T[:, groups]
    with np.errstate(over="ignore", invalid="ignore"):
        values *= scales.values(span, rows).T[:, groups]
    return values

"""AWQ: four-bit codes, eight in a word, packed along the outputs in a special order.

AutoRound writes codes of 5, 6 and 7 bits too, in the same order of eight and without gaps.

The version "gemm" has (inputs, outputs / 8) words, and scales and zero points of
(groups, outputs). The version "gemv" has (outputs, inputs / 8) words in plain order, and padded
groups of scales and zero points.

Source: Lin et al. 2023, "AWQ" (arXiv 2306.00978); the layout is that of AutoAWQ 0.2.9
(``utils/packing_utils.py``, ``modules/linear/gemv.py``), and of AutoRound 0.16
(``utils/bit_packing.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings import auto_round
from mlx_probe.checkpoint.packings.bits import codes_at, unpack_bits
from mlx_probe.checkpoint.packings.checks import missing, require_piece
from mlx_probe.checkpoint.packings.groups import SCALE_DTYPES, claim_qweight, group_size
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.encoding import Encoding
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

BITS = 4
PER_WORD = 32 // BITS
# Widths of AutoRound; AWQ itself has four bits only.
_WIDTHS = (4, 5, 6, 7)
# By the size of a group below 128, the words of zero points that a row is padded to a multiple of.
_GEMV_WORDS = {64: 2, 32: 4}
# Position in the word of each of eight neighbouring outputs.
_POSITIONS = np.array([0, 4, 1, 5, 2, 6, 3, 7])


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """``qweight`` if the model's method is AWQ, or if the shapes show that outputs are packed."""
    # The version gemv_fast, which is refused by its name, has words of 16 bits.
    words = claim_qweight(tensor, context, ("I32", "I16"))
    if words is None or len(tensor.shape) < 2:
        return None
    scales = [piece for piece in words.pieces if piece.name.endswith(".scales")]
    method = context.settings.get("quant_method")
    by_shape = any(piece.shape[-1:] == (tensor.shape[-1] * PER_WORD,) for piece in scales)
    if method in auto_round.METHODS:
        mine = auto_round.layout_of(context.settings) == "awq"
    else:
        mine = method == "awq" or (method != "gptq" and by_shape)
    if mine:
        # AWQ does not use an order of columns, but the tensor belongs to the weight.
        order = tuple(piece for piece in words.pieces if piece.name.endswith("g_idx"))
        pieces = tuple(piece for piece in words.pieces if piece not in order)
        return replace(words, pieces=pieces, extra=(*words.extra, *order))
    return None


def layout(claim: Claim, context: Context) -> Layout:
    """Words of either version; see `Scheme.layout`."""
    settings = context.settings
    bits = settings.get("bits", settings.get("w_bit", BITS))
    version = settings.get("version", settings.get("format")) or "gemm"
    version = version.lower() if isinstance(version, str) else version
    widths = _WIDTHS if settings.get("quant_method") in auto_round.METHODS else (BITS,)
    if bits not in widths or version not in ("gemm", "gemv"):
        raise PackingError(
            f"{claim.name}: AWQ of {bits!r} bits in the version {version!r} is not supported"
        )
    missing(claim, "qzeros", "scales")
    qweight, _, scales = claim.pieces
    if len(qweight.shape) not in (2, 3) or len(scales.shape) != len(qweight.shape):
        raise PackingError(
            f"{claim.name}: qweight {list(qweight.shape)} and scales {list(scales.shape)} "
            "are no matrices that fit"
        )
    require_piece(qweight, ("I32",), qweight.shape)
    return _gemv(claim, context) if version == "gemv" else _gemm(claim, context)


def _gemm(claim: Claim, context: Context) -> Layout:
    qweight, qzeros, scales = claim.pieces
    *stack, cols, words = qweight.shape
    groups, rows = scales.shape[-2:]
    bits = _bits(claim, context.settings)
    require_piece(scales, SCALE_DTYPES, (*stack, groups, rows))
    require_piece(qzeros, ("I32",), (*stack, groups, words))
    group = group_size(claim.name, cols, groups, context.settings)
    return Layout(
        (*stack, rows, cols),
        f"{bits} bit, group {group}",
        partial(_decode_gemm, group=group, bits=bits),
        row_major=False,
        encoding=Encoding("awq_gemm", bits=bits, group=group),
    )


def _bits(claim: Claim, settings: Mapping[str, Any]) -> int:
    """The width that fits the shapes; only AutoRound's settings for single layers may differ."""
    qweight, _, scales = claim.pieces
    words, rows = qweight.shape[-1], scales.shape[-1]
    given = settings.get("bits", settings.get("w_bit", BITS))
    auto = settings.get("quant_method") in auto_round.METHODS
    allowed = _WIDTHS if auto and "extra_config" in settings else (given,)
    fitting = [bits for bits in allowed if words * 32 == rows * bits and rows % PER_WORD == 0]
    if len(fitting) != 1:
        raise PackingError(
            f"{claim.name}: qweight {list(qweight.shape)} and scales {list(scales.shape)} do not "
            f"hold {' or '.join(map(str, allowed))} bits"
        )
    return fitting[0]


def _gemv(claim: Claim, context: Context) -> Layout:
    qweight, qzeros, scales = claim.pieces
    *stack, rows, words = qweight.shape
    cols = words * PER_WORD
    settings = context.settings
    group = settings.get("group_size", settings.get("q_group_size"))
    group = max(cols, 1) if group == -1 else group
    if type(group) is not int or group < 1 or cols % group:
        raise PackingError(
            f"{claim.name}: {cols} columns are not groups of {group!r}, config.json's group_size"
        )
    # AWQ pads them to whole words, and small groups to several: so their size shows after all.
    unit = _GEMV_WORDS.get(group, 1 if group >= 128 else 0)
    width = unit * -(-cols // (group * PER_WORD * unit)) if unit else 0
    if not width or qzeros.shape[-1:] != (width,):
        raise PackingError(
            f"{qzeros.name}: {list(qzeros.shape)} words do not hold {cols // group} groups"
        )
    require_piece(qzeros, ("I32",), (*stack, rows, width))
    require_piece(scales, SCALE_DTYPES, (*stack, rows, width * PER_WORD))
    decode = partial(_decode_gemv, group=group)
    return Layout(
        (*stack, rows, cols),
        f"{BITS} bit, group {group}, gemv",
        decode,
        encoding=Encoding("awq_gemv", bits=BITS, group=group),
    )


def _decode_gemm(
    pieces: Sequence[Piece], rows: Index, cols: slice, group: int, bits: int
) -> NDArray[np.float32]:
    qweight, qzeros, scales = pieces
    outputs = positions(rows)
    where = outputs // PER_WORD * PER_WORD + _POSITIONS[outputs % PER_WORD]
    groups = positions(cols) // group
    base = int(groups[0])
    span = slice(base, int(groups[-1]) + 1)
    codes = codes_at(qweight.words[cols], where, bits)
    values: NDArray[np.float32] = codes.astype(np.float32)
    values -= codes_at(qzeros.words[span], where, bits)[groups - base]
    with np.errstate(over="ignore", invalid="ignore"):
        values *= scales.values(span, rows)[groups - base]
    block: NDArray[np.float32] = values.T
    return block


def _decode_gemv(
    pieces: Sequence[Piece], rows: Index, cols: slice, group: int
) -> NDArray[np.float32]:
    qweight, qzeros, scales = pieces
    groups = positions(cols) // group
    base = int(groups[0])
    span = slice(base, int(groups[-1]) + 1)
    words = slice(cols.start // PER_WORD, -(-cols.stop // PER_WORD))
    values: NDArray[np.float32] = unpack_bits(qweight.words[rows, words], BITS).astype(np.float32)
    first = span.start // PER_WORD
    stored = qzeros.words[rows, first : -(-span.stop // PER_WORD)]
    values -= codes_at(stored, groups - first * PER_WORD, BITS)
    with np.errstate(over="ignore", invalid="ignore"):
        values *= scales.values(rows, span)[:, groups - base]
    return values

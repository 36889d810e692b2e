"""Sparse weights of compressed-tensors: the values that are not zero, and a bit for each element.

With 2:4 sparsity every row has half as many values as columns, ``X.compressed``. Without structure
all values follow each other, ``X.weight.compressed``, and ``row_offsets`` says where rows begin.
Bits of a row lie from the lowest of its first byte up. 8-bit floats have a ``weight_scale`` too.

Source: compressed-tensors 0.10 (``compressors/sparse_compressors/``), the last that writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.checks import missing, require_piece
from mlx_probe.checkpoint.packings.compressed_formats import METHOD
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

_VALUES = "compressed"
_FLOATS = ("BF16", "F16", "F32")
_SCALED = "F8_E4M3"
_STRUCTURED, _FREE = "sparse-24-bitmask", "sparse-bitmask"


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """``compressed`` or a ``bitmask`` alone, if config.json names the method.

    Values without their bits would be a matrix like others.
    """
    base, point, end = tensor.name.rpartition(".")
    base += point
    alone = end == "bitmask" and f"{base}{_VALUES}" not in context.tensors
    if not point or context.settings.get("quant_method") != METHOD:
        return None
    if end != _VALUES and not alone:
        return None
    module = base.removesuffix("weight.")
    if alone:
        return Claim(f"{module}weight", (tensor,))
    pieces = context.find(f"{base}bitmask", f"{base}row_offsets", f"{module}weight_scale")
    extra = context.find(f"{base}shape", f"{module}input_scale")
    return Claim(f"{module}weight", (tensor, *pieces), extra)


def layout(claim: Claim, context: Context) -> Layout:
    """The matrix in ``shape``; see `Scheme.layout`."""
    missing(claim, _VALUES, "bitmask")
    values, mask, *others = claim.pieces
    named = {piece.name.rpartition(".")[2]: piece for piece in others}
    structured = len(values.shape) == 2
    form = _STRUCTURED if structured else _FREE
    declared = _declared(context.settings)
    if declared != form:
        raise PackingError(f"{claim.name}: its pieces are {form}, config.json: {declared!r}")
    rows, cols = _shape(claim, context)
    require_piece(mask, ("U8",), (rows, -(-cols // 8)))
    if structured:
        require_piece(values, (*_FLOATS, _SCALED), (rows, cols // 2))
        if cols % 4 or "row_offsets" in named:
            raise PackingError(f"{claim.name}: no 2:4 sparsity of {rows} x {cols}")
    else:
        missing(claim, "row_offsets")
        require_piece(values, (*_FLOATS, _SCALED), values.shape[:1])
        require_piece(named["row_offsets"], ("I64", "I32"), (rows,))
    if (values.dtype == _SCALED) != ("weight_scale" in named):
        raise PackingError(f"{claim.name}: {values.dtype} with{'' if others else 'out'} a scale")
    if "weight_scale" in named:
        require_piece(named["weight_scale"], _FLOATS, (), (1,), (rows, 1))
    ends = ("compressed", "bitmask", *named)
    detail = f"{'2:4' if structured else 'no structure'}{', scaled' * ('weight_scale' in named)}"
    decode = partial(_decode, name=claim.name, ends=ends)
    return Layout((rows, cols), detail, decode, row_major=structured)


def _declared(settings: Mapping[str, Any]) -> object:
    sparsity = settings.get("sparsity_config")
    form = sparsity.get("format") if isinstance(sparsity, Mapping) else None
    return form or settings.get("format")


def _shape(claim: Claim, context: Context) -> tuple[int, int]:
    shapes = [piece for piece in claim.extra if piece.name.endswith(".shape")]
    if not shapes:
        raise PackingError(f"{claim.name}: shape missing beside its values")
    (stored,) = shapes
    require_piece(stored, ("I64",), (2,), (2, 1))
    rows, cols = np.frombuffer(context.read(stored), DTYPES["I64"].storage).tolist()
    if rows < 1 or cols < 1:
        raise PackingError(f"{stored.name}: {rows} x {cols} is no matrix")
    return rows, cols


def _decode(
    pieces: Sequence[Piece], rows: Index, cols: slice, name: str, ends: tuple[str, ...]
) -> NDArray[np.float32]:
    named = dict(zip(ends, pieces, strict=True))
    stored, mask = named["compressed"], named["bitmask"]
    numbers = positions(rows)
    bits = np.unpackbits(mask.words[rows, : -(-cols.stop // 8)], axis=1, bitorder="little")
    before = bits[:, : cols.start].sum(axis=1, dtype=np.intp)
    bits = bits[:, cols.start : cols.stop].astype(bool)
    counts = bits.sum(axis=1, dtype=np.intp)
    if "row_offsets" in named:
        starts = named["row_offsets"].words[numbers].astype(np.intp)
    else:
        width = stored.words.shape[1]
        starts = numbers * width
        if (before + counts > width).any():
            raise PackingError(f"{name}: its bitmask has more values than a row")
    starts += before
    flat = Piece(stored.words.reshape(-1), stored.dtype)
    if len(starts) and not (starts.min() >= 0 and (starts + counts).max() <= len(flat.words)):
        raise PackingError(f"{name}: its bitmask has more values than are stored")
    values = np.zeros(bits.shape, np.float32)
    for line, keep, start, count in zip(values, bits, starts, counts, strict=True):
        line[keep] = flat.values(slice(start, start + count))
    if "weight_scale" in named:
        scale = named["weight_scale"].values().reshape(-1, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            values *= scale if len(scale) == 1 else scale[rows]
    return values

"""HQQ: codes ``W_q`` of 1 to 8 bits with a scale and a zero point for each group.

The matrix is cut into groups in reading order: for axis 1 it is reshaped to (groups, group size),
for axis 0 to (group size, groups). Packing then folds the first axis of that: a word holds the
codes of rows r, r + R, r + 2R and so on from its highest bits down, where R is the number of
stored rows. Each setting is a small tensor beside the codes, or in a ``qmodel.pt`` a plain value.

Source: Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models"
(mobiusml.github.io/hqq_blog); the layout is that of hqq 0.2.8 (``core/quantize.py`` and
``core/bitpack.py``), which transformers saves too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.formats.torch_settings import SETTINGS
from mlx_probe.checkpoint.packings.checks import missing, require_piece
from mlx_probe.checkpoint.packings.groups import SCALE_DTYPES
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

_CODES, _NESTED = "W_q", "meta."
# What the values depend on, and what only describes how they were made.
_READ = (
    *("shape", "axis", "group_size", "packing", "quant_scale", "quant_zero", "channel_wise"),
    "view_as_float",
)
_SETTINGS = (
    *_READ,
    *("nbits", "unpack_view_dtype", "compute_dtype", "offload_meta"),
    *("encoded_state_dict", "stores_quant_config", "optimize", "round_zero"),
)


@dataclass(frozen=True)
class _Packing:
    """How codes lie in a word.

    Attributes:
        bits: Width of a code.
        count: Codes in a word.
        word: Type of the word.
    """

    bits: int
    count: int
    word: str


_PACKINGS = {
    "8bit_u8": _Packing(8, 1, "u1"),
    "4bit_u8": _Packing(4, 2, "u1"),
    "3bit_32": _Packing(3, 10, "<u4"),
    "2bit_u8": _Packing(2, 4, "u1"),
    "1bit_u8": _Packing(1, 8, "u1"),
}


@dataclass(frozen=True)
class _Form:
    """How a weight's codes and groups are read.

    Attributes:
        width: Columns of the matrix.
        folded: Rows of stored words.
        across: Words of such a row.
        axis: 1 if the groups are the rows of the folded matrix, 0 if they are its columns.
        packing: How codes lie in a word.
    """

    width: int
    folded: int
    across: int
    axis: int
    packing: _Packing


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """``W_q`` with its scales, zero points and settings; the settings alone if it is not there.

    Its bytes may be called floats, which are no weights without it.
    """
    base, point, end = tensor.name.rpartition(".")
    base += point
    alone = end == "packing" and {f"{base}axis", f"{base}shape"} <= context.tensors.keys()
    if end != _CODES and (not alone or f"{base}{_CODES}" in context.tensors):
        return None
    # Before version 0.2 they were in a dictionary.
    inner = f"{base}{_NESTED}" if f"{base}{_NESTED}scale" in context.tensors else base
    pieces = context.find(f"{inner}scale", f"{inner}zero")
    settings = (f"{base}{name}" for name in _SETTINGS)
    extra = context.find(*(name for name in settings if name != tensor.name))
    return Claim(f"{base}weight", (tensor, *pieces), extra)


def layout(claim: Claim, context: Context) -> Layout:
    """The matrix in ``shape``; see `Scheme.layout`."""
    missing(claim, _CODES, "scale", "zero")
    settings = _settings(claim, context)
    shape, axis = settings["shape"], _number(claim, settings, "axis")
    if not isinstance(shape, list) or len(shape) != 2 or min(shape) < 1 or axis not in (0, 1):
        raise PackingError(f"{claim.name}: HQQ's shape {shape} and axis {axis} are no matrix")
    for name, wanted in (("quant_scale", 0), ("quant_zero", 0), ("channel_wise", 1)):
        if name in settings and _number(claim, settings, name) != wanted:
            raise PackingError(f"{claim.name}: HQQ's {name} of {1 - wanted} is not supported")
    rows, cols = shape
    group = _number(claim, settings, "group_size") if "group_size" in settings else shape[axis]
    text = settings["packing"]
    if not isinstance(text, str) or text not in _PACKINGS:
        raise PackingError(f"{claim.name}: HQQ's packing {text!r} is not supported")
    if group < 1 or rows * cols % group:
        raise PackingError(f"{claim.name}: {rows} x {cols} elements are not groups of {group}")
    packing, groups = _PACKINGS[text], rows * cols // group
    height, across = (groups, group) if axis else (group, groups)
    folded = -(-height // packing.count)
    codes, scale, zero = claim.pieces
    # With ``view_as_float`` the bytes of the words are called floats.
    floats = settings.get("view_as_float", [codes.dtype in SCALE_DTYPES])
    stored = SCALE_DTYPES if floats in ([1], True) else ("U8", "I32")
    require_piece(codes, stored, codes.shape)
    nbytes = folded * across * np.dtype(packing.word).itemsize
    # Only three bits have rows to spare: ten do not divide most heights.
    if codes.nbytes != nbytes or (packing.bits != 3 and height % packing.count):
        raise PackingError(
            f"{codes.name}: {codes.nbytes} bytes do not hold {packing.bits} bits of {rows} x {cols}"
        )
    for piece in (scale, zero):
        require_piece(piece, SCALE_DTYPES, (groups, 1) if axis else (1, groups))
    form = _Form(cols, folded, across, axis, packing)
    detail = f"{packing.bits} bit, group {group}{'' if axis else ', axis 0'}"
    # The rows of the words are not those of the matrix.
    return Layout((rows, cols), detail, partial(_decode, form=form), row_major=False)


def _settings(claim: Claim, context: Context) -> dict[str, Any]:
    """The settings that the values depend on: numbers, lists of them, and one text."""
    stored = {piece.name.rpartition(".")[2]: piece for piece in claim.extra}
    modules = context.metadata.get(SETTINGS)
    module = claim.name.removesuffix("weight").rstrip(".")
    plain = modules.get(module, {}) if isinstance(modules, Mapping) else {}
    settings = {name: plain[name] for name in _READ if name in plain}
    for name in (name for name in _READ if name in stored):
        piece = stored[name]
        require_piece(piece, ("U8", "I32", "I64"), piece.shape)
        words = context.read(piece)
        numbers = np.frombuffer(words, DTYPES[piece.dtype].storage).tolist()
        settings[name] = words.decode("latin-1") if name == "packing" else numbers
    lacking = [name for name in ("shape", "axis", "packing") if name not in settings]
    if lacking:
        raise PackingError(f"{claim.name}: HQQ's {' and '.join(lacking)} missing beside W_q")
    return settings


def _number(claim: Claim, settings: Mapping[str, Any], name: str) -> int:
    value = settings[name]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, int):
        raise PackingError(f"{claim.name}: HQQ's {name} is {value!r}, no number")
    return int(value)


def _decode(pieces: Sequence[Piece], rows: Index, cols: slice, form: _Form) -> NDArray[np.float32]:
    stored, scale, zero = pieces
    packing = form.packing
    words = stored.words.reshape(-1).view(packing.word).reshape(form.folded, form.across)
    mask = words.dtype.type((1 << packing.bits) - 1)
    scales, zeros = (Piece(piece.words.reshape(-1), piece.dtype) for piece in (scale, zero))
    numbers = positions(rows)
    values = np.empty((len(numbers), cols.stop - cols.start), np.float32)
    for line, row in zip(values, numbers, strict=True):
        # The lines of the folded matrix that this row lies in, and where it begins there.
        first, start = divmod(int(row) * form.width + cols.start, form.across)
        lines = np.arange(first, first + -(-(start + len(line)) // form.across))
        span = slice(start, start + len(line)) if len(lines) == 1 else slice(0, form.across)
        place, fold = np.divmod(lines, form.folded)
        shifts = (packing.bits * (packing.count - 1 - place)).astype(words.dtype)
        codes = ((words[fold, span] >> shifts[:, None]) & mask).astype(np.float32)
        index = (lines[:, None],) if form.axis else (span,)
        with np.errstate(over="ignore", invalid="ignore"):
            codes -= zeros.values(*index)
            codes *= scales.values(*index)
        line[...] = codes.reshape(-1)[start - span.start :][: len(line)]
    return values

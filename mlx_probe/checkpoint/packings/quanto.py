"""optimum-quanto: ``weight._data`` of 8 bits, or ``weight._data._data`` of 4 or 2 bits.

8-bit codes have the shape of the weight and a ``_scale`` for each row. Smaller ones are cut into
groups first, a row for each group, and the rows are packed: a byte holds the codes of rows far
apart, the first of them in its lowest bits. Every group has a ``_scale``, which is multiplied, and
a ``_shift``, which is subtracted. The number of rows of the weight is not stored.

Source: optimum-quanto 0.2.7 (``tensor/packed.py``, ``tensor/grouped.py``, ``tensor/qbits.py``,
``nn/qmodule.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.checkpoint.packings.checks import missing, require_piece
from mlx_probe.checkpoint.packings.fp8 import decode_scaled, encoding_of
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

_BYTES = {"I8": "qint8", "F8_E4M3": "qfloat8_e4m3fn", "F8_E5M2": "qfloat8_e5m2"}
_FLOATS = ("F32", "F16", "BF16")
_EXTRA = ("input_scale", "output_scale")
# Weights whose rows or columns are as many as the residual stream is wide.
_OUT_OF_STREAM = ("q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj")
_INTO_STREAM = ("o_proj", "down_proj")
_COMPONENTS = ("attention", "mlp", "moe", "output")


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """``_data`` below a weight, with the scales and shifts beside it."""
    packed = tensor.name.endswith("._data._data")
    name = tensor.name.removesuffix("._data._data" if packed else "._data")
    if name == tensor.name:
        return None
    pieces = context.find(f"{name}._scale", f"{name}._shift")
    # ``a.weight._data`` is also what surrounds the packed codes.
    if not (pieces or tensor.dtype in ("U8", *_BYTES)):
        return None
    module = name.removesuffix("weight")
    extra = context.find(*(f"{module}{end}" for end in _EXTRA)) if module != name else ()
    return Claim(name, (tensor, *pieces), extra)


def layout(claim: Claim, context: Context) -> Layout:
    """The shape of 8-bit codes is the weight's, that of smaller ones is inferred."""
    main, *others = claim.pieces
    if len(main.shape) != 2:
        raise PackingError(f"{main.name} has the shape {list(main.shape)}; only matrices are read")
    if main.name.endswith("._data._data"):
        missing(claim, "_scale", "_shift")
        return _packed(claim, context)
    missing(claim, "_scale")
    _require_declared(claim, context, _BYTES.get(main.dtype, main.dtype))
    rows, cols = main.shape
    if len(others) != 1:
        raise PackingError(f"{claim.name}: a shift of 8-bit codes")
    require_piece(main, tuple(_BYTES), main.shape)
    require_piece(others[0], _FLOATS, (), (1,), (rows, 1))
    block = (1, cols) if others[0].shape == (rows, 1) else (max(rows, 1), max(cols, 1))
    shared = "a scale for each row" if block[0] == 1 else "one scale"
    detail = f"{_BYTES[main.dtype]}, {shared}"
    encoding = encoding_of(main, others[0], block)
    return Layout(main.shape, detail, partial(decode_scaled, block=block), encoding=encoding)


def _packed(claim: Claim, context: Context) -> Layout:
    main, scale, shift = claim.pieces
    lines, group = main.shape
    groups = scale.numel
    require_piece(main, ("U8",), main.shape)
    require_piece(scale, _FLOATS, (groups, 1))
    require_piece(shift, ("I8", *_FLOATS), (groups, 1))
    fitting = [bits for bits in (2, 4) if -(-groups // (8 // bits)) == lines]
    if len(fitting) > 1:
        # One or two groups fill one byte in either width.
        fitting = [bits for bits in fitting if _declared(context) in (f"int{bits}", f"qint{bits}")]
    if len(fitting) != 1 or not group:
        raise PackingError(f"{claim.name}: {lines} rows of bytes for {groups} groups")
    _require_declared(claim, context, f"qint{fitting[0]}")
    rows, cols = _shape(claim, context, groups, group)
    stream = _in_stream(claim, rows, cols)
    if None not in (context.width, stream) and context.width != stream:
        raise PackingError(f"{claim.name}: {rows} x {cols} in a stream of {context.width}")
    decode = partial(_decode_packed, bits=fitting[0], across=cols // group)
    each = f"group {group}" if cols != group else "a scale for each row"
    # Rows of the weight are spread over the bytes' rows.
    return Layout((rows, cols), f"qint{fitting[0]}, {each}", decode, row_major=False)


def _require_declared(claim: Claim, context: Context, kind: str) -> None:
    """Refuse codes of another kind than config.json declares ("int4", "float8")."""
    declared = _declared(context)
    if isinstance(declared, str) and not kind.startswith(f"q{declared.removeprefix('q')}"):
        raise PackingError(f"{claim.name}: {kind}, though config.json declares {declared!r}")


def _declared(context: Context) -> object:
    """The kind of all weights by config.json: of transformers, or of diffusers."""
    return context.settings.get("weights", context.settings.get("weights_dtype"))


def _shape(claim: Claim, context: Context, groups: int, group: int) -> tuple[int, int]:
    """Rows and columns: those that quanto would have cut into such groups, and that fit the model.

    Raises:
        PackingError: Several do, or none.
    """
    rows = _rows(claim, context, groups * group)
    if rows is None and _group_of(group) == 0 and group not in (32, 64, 96, 128):
        # No group has as many columns: these are whole rows.
        rows = groups
    if rows is None:
        raise PackingError(
            f"{claim.name}: quanto stores {groups} groups of {group} and no shape; neither a bias "
            "nor config.json's hidden_size shows it"
        )
    cols = groups * group // rows if rows else 0
    if rows * cols != groups * group or (_group_of(cols) or cols) != group:
        raise PackingError(f"{claim.name}: {groups} groups of {group} are not {rows} rows")
    return rows, cols


def _rows(claim: Claim, context: Context, numel: int) -> int | None:
    """Rows by the bias, or by the place of the weight in the network; None if neither shows it."""
    module = claim.name.removesuffix("weight")
    bias = context.find(f"{module}bias")
    if bias and len(bias[0].shape) == 1:
        return bias[0].numel
    role, width = classify(claim.name), context.width
    if width is None or role.component not in _COMPONENTS:
        return None
    if role.block_type in _INTO_STREAM:
        return width
    if role.block_type in _OUT_OF_STREAM or role.component == "output":
        # 0 rows fit nothing.
        return numel // width if numel % width == 0 else 0
    return None


def _in_stream(claim: Claim, rows: int, cols: int) -> int | None:
    """Which of the two is as many as the residual stream is wide; None where that is unknown."""
    role = classify(claim.name)
    if role.component not in ("attention", "mlp"):
        return None
    if role.block_type in _INTO_STREAM:
        return rows
    return cols if role.block_type in _OUT_OF_STREAM else None


def _group_of(cols: int) -> int:
    """Columns of a group as quanto chooses them; 0 if it does not cut rows into groups."""
    if cols <= 128:
        return 0
    return next((group for group in (128, 96, 64, 32) if cols % group == 0), 0)


def _decode_packed(
    pieces: Sequence[Piece], rows: Index, cols: slice, bits: int, across: int
) -> NDArray[np.float32]:
    main, scale, shift = pieces
    lines, group = main.words.shape
    first, last = cols.start // group, -(-cols.stop // group)
    where = positions(rows)[:, None] * across + np.arange(first, last)
    place, line = np.divmod(where, lines)
    # Codes of (rows, groups, columns of a group).
    codes = main.words[line] >> (place * bits).astype(np.uint8)[..., None]
    codes &= np.uint8((1 << bits) - 1)
    values: NDArray[np.float32] = codes.astype(np.float32)
    factors, shifts = (piece.values()[where] for piece in (scale, shift))
    with np.errstate(over="ignore", invalid="ignore"):
        if shift.dtype == "I8":
            values -= shifts
            values *= factors
        else:
            values *= factors
            values -= shifts
    start = first * group
    return values.reshape(len(values), -1)[:, cols.start - start : cols.stop - start]

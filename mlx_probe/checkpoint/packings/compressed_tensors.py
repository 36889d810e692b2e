"""compressed-tensors, the format of llm-compressor: integers and small floats with scales.

Integers of 1 to 8 bits are packed along the rows (``weight_packed``, 32-bit words), floats of 4 and
6 bits into bytes (`microscaled`); 8-bit integers and floats are stored plain in ``weight``. A scale
belongs to the tensor, a row, a group of columns or a block. Bit widths and groups come from the
shapes. config.json gives them by patterns on module names: what the shapes say has to be among
what it gives. AutoRound writes the same pieces, with kinds of its own.

Source: compressed-tensors 0.20 (``compressors/`` and ``quantization/lifecycle/
forward_helpers.py``); AutoRound 0.16 (``export/export_to_autoround/``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings import auto_round, microscaled
from mlx_probe.checkpoint.packings.bits import codes_at, unpack_bits
from mlx_probe.checkpoint.packings.checks import missing, require_piece
from mlx_probe.checkpoint.packings.compressed_formats import METHOD, kind_of, schemes
from mlx_probe.checkpoint.packings.groups import OVERRIDES, SCALE_DTYPES, column_groups
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.dtypes import DTYPES, SCALE_DTYPE
from mlx_probe.core.encoding import Encoding
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

# The scales of MX formats are bytes that hold an exponent only, whatever type the file names.
_EXPONENTS = ("U8", SCALE_DTYPE)
# Columns that share an exponent in every MX format.
_MX_GROUP = 32
_PIECES = ("weight_scale", "weight_zero_point", "weight_g_idx", "weight_global_scale")
# The shape before packing, and what was measured of activations.
_EXTRA = (
    "weight_shape",
    "input_scale",
    "input_zero_point",
    "input_global_scale",
    "output_scale",
    "output_zero_point",
)


# Settings of config.json that ask for a piece: key, value, piece.
_NEEDED = (
    ("symmetric", False, "weight_zero_point"),
    ("actorder", "group", "weight_g_idx"),
)


@dataclass(frozen=True)
class _Form:
    """How a weight's codes and scales are read.

    Attributes:
        name: The weight, for messages.
        shape: Rows and columns.
        packed: Whether the codes are packed into words.
        bits: Width of a code.
        block: Rows and columns that share a scale.
        pieces: Last segments of the pieces' names, in the order of the pieces.
        scale_dtype: Type of the scales.
        packed_zeros: Whether zero points are packed like codes, along the rows.
    """

    name: str
    shape: tuple[int, int]
    packed: bool
    bits: int
    block: tuple[int, int]
    pieces: tuple[str, ...]
    scale_dtype: str
    packed_zeros: bool

    @property
    def grid(self) -> tuple[int, int]:
        """Number of scales along the rows and along the columns."""
        rows, cols = (
            -(-extent // step) for extent, step in zip(self.shape, self.block, strict=True)
        )
        return rows, cols


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """``weight_packed``, or an 8-bit ``weight``, beside ``weight_scale``.

    Those only if config.json names the method: others store them the same way, and rotated.
    """
    name = tensor.name
    packed = name.endswith("weight_packed") and tensor.dtype in ("I32", "U8")
    base = name.removesuffix("weight_packed" if packed else "weight")
    if base == name or base[-1:] not in ("", "."):
        return None
    if not packed and context.settings.get("quant_method") not in (METHOD, *auto_round.METHODS):
        return None
    pieces = context.find(*(f"{base}{piece}" for piece in _PIECES))
    if not packed and not (pieces and _owns(tensor, pieces[0], context.settings)):
        return None
    extra = context.find(*(f"{base}{piece}" for piece in _EXTRA))
    return Claim(f"{base}weight", (tensor, *pieces), extra)


def _owns(main: TensorInfo, scale: TensorInfo, settings: Mapping[str, Any]) -> bool:
    """Whether plain codes are this packing's; AutoRound's FP8 is, if its scales are exponents."""
    method = settings.get("quant_method")
    if main.dtype == "F8_E4M3":
        return method == METHOD or (method in auto_round.METHODS and scale.dtype in _EXPONENTS)
    return main.dtype == "I8" and method == METHOD


def layout(claim: Claim, context: Context) -> Layout:
    """Any of the formats, (out, in); see `Scheme.layout`."""
    missing(claim, "weight_scale")
    main, scale, *others = claim.pieces
    if len(main.shape) not in (2, 3):
        raise PackingError(f"{main.name} has the shape {list(main.shape)}, no matrix")
    require_piece(main, (main.dtype,), main.shape)
    named = {piece.name.rpartition(".")[2]: piece for piece in others}
    kind = kind_of(claim.name, main, scale, context.settings)
    if kind in microscaled.FORMATS:
        return _microscaled(claim, kind, named, context.settings)
    *stack, rows, _ = main.shape
    cols, bits = _width(claim, context, kind)
    block = _block(scale, tuple(stack), (rows, cols), context.settings)
    if kind == "mxfp8" and block != (1, _MX_GROUP):
        raise PackingError(f"{scale.name}: not a scale for each {_MX_GROUP} columns of {main.name}")
    form = _Form(
        name=claim.name,
        shape=(rows, cols),
        packed=kind == "words",
        bits=bits,
        block=block,
        pieces=("weight_scale", *named),
        scale_dtype=_scale_dtype(main, scale),
        packed_zeros="weight_zero_point" in named and named["weight_zero_point"].dtype == "I32",
    )
    _check_others(named, scale, tuple(stack), form)
    _check_settings(named, form, context.settings)
    number = f"{'fp' if main.dtype == 'F8_E4M3' else 'int'}{bits}"
    return Layout(
        (*stack, rows, cols),
        f"{number}, {_describe(form)}",
        partial(_decode, form=form),
        encoding=_encoding(main, form),
    )


def _encoding(main: TensorInfo, form: _Form) -> Encoding | None:
    lines, group = form.block
    symmetric = form.pieces == ("weight_scale",)
    if symmetric and not form.packed:
        return Encoding("scaled", main.dtype, 8, group, lines=lines, scale=form.scale_dtype)
    if symmetric or (form.packed_zeros and len(form.pieces) == 2):
        return Encoding("signed", "", form.bits, group, lines=lines, scale=form.scale_dtype)
    return None


def _microscaled(
    claim: Claim, kind: str, named: Mapping[str, TensorInfo], settings: Mapping[str, Any]
) -> Layout:
    for end, piece in named.items():
        if end != "weight_global_scale" or kind != "nvfp4":
            raise PackingError(f"{piece.name}: {kind} has no such piece")
    if kind == "nvfp4":
        missing(claim, "weight_global_scale")
    main, scale, *_ = claim.pieces
    given = settings.get("group_size")
    group = microscaled.group_of(microscaled.FORMATS[kind], main, scale)
    if given not in (None, group) and not any(key in settings for key in OVERRIDES):
        raise PackingError(f"{claim.name}: groups of {group}; config.json: group_size {given!r}")
    return microscaled.layout(claim, microscaled.FORMATS[kind], divides=True)


def _width(claim: Claim, context: Context, kind: str) -> tuple[int, int]:
    """Columns, and bits of each."""
    main = claim.pieces[0]
    *lines, words = main.shape
    if kind != "words":
        return words, 8
    shapes = [piece for piece in claim.extra if piece.name.endswith("weight_shape")]
    if not shapes:
        raise PackingError(f"{claim.name}: weight_shape is missing beside its packed codes")
    (stored,) = shapes
    require_piece(stored, ("I64", "I32"), (len(main.shape),))
    shape = np.frombuffer(context.read(stored), DTYPES[stored.dtype].storage).tolist()
    cols = shape[-1]
    if shape[:-1] != lines or cols < 0:
        raise PackingError(f"{main.name}: weight_shape {shape} beside {list(main.shape)} words")
    fitting = [bits for bits in range(1, 9) if -(-cols * bits // 32) == words]
    configured = [weights.get("num_bits") for weights in schemes(context.settings)]
    # Several widths may fit a narrow matrix.
    chosen = [bits for bits in fitting if bits in configured] if any(configured) else fitting
    if len(chosen) != 1:
        raise PackingError(
            f"{main.name}: rows of {words} words for {cols} columns do not show the bits of each"
        )
    return cols, chosen[0]


def _block(
    scale: TensorInfo,
    stack: tuple[int, ...],
    shape: tuple[int, int],
    settings: Mapping[str, Any],
) -> tuple[int, int]:
    """Rows and columns that share a scale, by the shape of the scales."""
    rows, cols = shape
    if scale.shape in (stack, (*stack, 1), (*stack, 1, 1)):
        return max(rows, 1), max(cols, 1)
    if scale.shape in ((*stack, rows), (*stack, rows, 1)):
        return 1, max(cols, 1)
    if len(scale.shape) == len(stack) + 2 and scale.shape[: len(stack)] == stack:
        down, across = scale.shape[-2:]
        if down == rows and across and not cols % across:
            return 1, max(cols // across, 1)
        for weights in schemes(settings):
            height, width = _structure(weights.get("block_structure")) or (0, 0)
            if height and (down, across) == (-(-rows // height), -(-cols // width)):
                return height, width
    raise PackingError(
        f"{scale.name} has the shape {list(scale.shape)}: no scale for the tensor, each row, "
        f"equal groups or config.json's blocks of {rows} x {cols}"
    )


def _structure(given: object) -> tuple[int, int] | None:
    """Rows and columns of a block, from [128, 128] or "128x128"; None for anything else."""
    sides = (
        [int(side) for side in re.findall(r"\d{1,9}", given)] if isinstance(given, str) else given
    )
    if not isinstance(sides, list) or len(sides) != 2:
        return None
    height, width = sides
    fits = type(height) is int and type(width) is int and height > 0 and width > 0
    return (height, width) if fits else None


def _scale_dtype(main: TensorInfo, scale: TensorInfo) -> str:
    """Type of the scales: exponents for the MX formats."""
    allowed = (*SCALE_DTYPES, *_EXPONENTS) if main.dtype == "F8_E4M3" else SCALE_DTYPES
    require_piece(scale, allowed, scale.shape)
    return SCALE_DTYPE if scale.dtype in _EXPONENTS else scale.dtype


def _check_others(
    named: Mapping[str, TensorInfo], scale: TensorInfo, stack: tuple[int, ...], form: _Form
) -> None:
    rows, cols = form.shape
    down, across = form.grid
    for end, piece in named.items():
        if end == "weight_zero_point":
            if form.packed_zeros:
                words = -(-down * form.bits // 32)
                require_piece(piece, ("I32",), (*stack, words, across))
                if not form.packed or down != rows:
                    raise PackingError(f"{piece.name}: packed zero points that rows do not have")
            else:
                require_piece(piece, ("I8", "F8_E4M3"), scale.shape)
        elif end == "weight_g_idx":
            require_piece(piece, ("I32", "I64"), (*stack, cols))
            if form.block[0] != 1:
                raise PackingError(f"{piece.name}: an order of groups, and none there")
        else:
            raise PackingError(f"{piece.name}: a global scale of what are no 4-bit floats")


def _check_settings(
    named: Mapping[str, TensorInfo], form: _Form, settings: Mapping[str, Any]
) -> None:
    """Refuse pieces that contradict what config.json says about every group of modules."""
    given = [weights for weights in schemes(settings) if "strategy" in weights]
    blocks = [_configured_block(weights, form.shape) for weights in given]
    read = _clipped(form.block, form.shape)
    if blocks and None not in blocks and read not in blocks:
        raise PackingError(
            f"{form.name}: the shape of its scales means {_describe(form)}, which none of "
            "config.json's config_groups has"
        )
    mine = [weights for weights, block in zip(given, blocks, strict=True) if block in (None, read)]
    for key, value, piece in _NEEDED:
        if mine and piece not in named and all(weights.get(key) == value for weights in mine):
            raise PackingError(f"{form.name}: {piece} missing; config.json: {key} {value!r}")


def _configured_block(weights: Mapping[str, Any], shape: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns that share a scale in a group of config.json; None if it is not clear."""
    strategy, group = weights.get("strategy"), weights.get("group_size")
    block: tuple[int, int] | None = None
    if strategy == "tensor":
        block = shape
    elif strategy == "channel":
        block = 1, shape[1]
    elif strategy in ("group", "tensor_group") and type(group) is int and group > 0:
        block = 1, group
    elif strategy == "block":
        block = _structure(weights.get("block_structure"))
    return block and _clipped(block, shape)


def _clipped(block: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """A block that is no larger than the matrix."""
    return min(block[0], max(shape[0], 1)), min(block[1], max(shape[1], 1))


def _describe(form: _Form) -> str:
    height, width = form.block
    rows, cols = form.shape
    if (height, width) == (max(rows, 1), max(cols, 1)):
        return "one scale"
    if height == 1:
        return "a scale for each row" if width == max(cols, 1) else f"group {width}"
    return f"blocks of {height} x {width}"


def _decode(pieces: Sequence[Piece], rows: Index, cols: slice, form: _Form) -> NDArray[np.float32]:
    main, *others = pieces
    named = dict(zip(form.pieces, others, strict=True))
    order = _order(named)
    down = positions(rows) // form.block[0]
    across = column_groups(order, cols, form.block[1], form.grid[1], form.name)
    # Only the groups of these columns: all of them, expanded, may be as large as the matrix.
    base = int(across.min())
    span = slice(base, int(across.max()) + 1)
    across = across - base
    values = _codes(main, rows, cols, form)
    if "weight_zero_point" in named:
        values -= _zeros(named["weight_zero_point"], down, span, form)[:, across]
    stored = named["weight_scale"]
    words = stored.words.reshape(form.grid)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        factors = Piece(words, form.scale_dtype).values(down, span)
        values *= factors[:, across]
    return values


def _order(named: Mapping[str, Piece]) -> list[Piece]:
    """The order of the groups; an order that was never set contains -1."""
    order = [piece for end, piece in named.items() if end == "weight_g_idx"]
    return [piece for piece in order if not (piece.words == -1).any()]


def _codes(main: Piece, rows: Index, cols: slice, form: _Form) -> NDArray[np.float32]:
    """The codes as numbers: for packed integers, minus their offset."""
    if not form.packed:
        return main.values(rows, cols)
    bits = form.bits
    # 32 codes fill ``bits`` words; the last words of a row may be missing.
    words = main.words[rows, cols.start // 32 * bits : -(-cols.stop // 32) * bits]
    lacking = -words.shape[1] % bits if 8 % bits else 0
    if lacking:
        words = np.pad(words, ((0, 0), (0, lacking)))
    codes = unpack_bits(words, bits)[:, : cols.stop - cols.start]
    values: NDArray[np.float32] = codes.astype(np.float32)
    values -= np.float32(1 << (bits - 1))
    return values


def _zeros(stored: Piece, down: NDArray[np.intp], span: slice, form: _Form) -> NDArray[np.float32]:
    """Zero points of rows and groups."""
    if not form.packed_zeros:
        return Piece(stored.words.reshape(form.grid), stored.dtype).values(down, span)
    first = int(down.min()) // 32 * form.bits
    last = -(-(int(down.max()) + 1) // 32) * form.bits
    words = np.ascontiguousarray(stored.words[first:last, span].T)
    codes = codes_at(words, down - first // form.bits * 32, form.bits).T
    zeros: NDArray[np.float32] = codes.astype(np.float32)
    zeros -= np.float32(1 << (form.bits - 1))
    return zeros

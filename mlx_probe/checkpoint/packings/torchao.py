"""torchao's tensors in safetensors files: ``_weight_qdata``, ``_weight_scale`` and their like.

The file's metadata hold a JSON text for each weight with the tensor's class and its settings;
transformers writes them so too. torchao 0.14 wrote ``weight:qdata`` instead. Classes whose codes
are laid out for the kernels of one device are refused.

Source: torchao 0.18 (``prototype/safetensors``, ``quantization/quantize_/workflows``,
``prototype/mx_formats``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.blocked import blocked_shape, decode_small_floats
from mlx_probe.checkpoint.packings.checks import require_piece
from mlx_probe.checkpoint.packings.fp8 import encoding_of
from mlx_probe.checkpoint.packings.int4 import decode_int4
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.dtypes import SCALE_DTYPE
from mlx_probe.core.encoding import Encoding
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

_MAIN = "qdata"
# What values are computed from, in the order of the pieces.
_PIECES = ("scale", "zero_point", "per_tensor_scale", "act_pre_scale", "scale_and_zero")
# What quantizes activations.
_EXTRA = ("act_quant_scale", "act_quant_zero_point", "act_per_tensor_scale")
_FLOATS = ("F32", "F16", "BF16")
_FLOAT8 = ("F8_E4M3", "F8_E5M2")
_WORDS = {"F8_E4M3": "float8_e4m3", "F8_E5M2": "float8_e5m2", "I8": "int8"}
# Of codes whose order suits one kind of device.
_FOREIGN = ("Int4TilePackedTo4dTensor", "Int4PlainInt32Tensor", "Int4PreshuffledTensor")


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """``_weight_qdata`` of a module, or ``weight:qdata``, with everything that belongs to it."""
    head, _, last = tensor.name.rpartition(".")
    if last.endswith(f":{_MAIN}"):
        name = tensor.name.removesuffix(f":{_MAIN}")
        start = f"{name}:"
    elif last.startswith("_") and last.endswith(f"_{_MAIN}") and len(last) > len(_MAIN) + 2:
        parameter = last[1 : -len(_MAIN) - 1]
        name = f"{head}.{parameter}" if head else parameter
        start = tensor.name.removesuffix(_MAIN)
    else:
        return None
    pieces = context.find(*(f"{start}{end}" for end in _PIECES))
    extra = context.find(*(f"{start}{end}" for end in _EXTRA))
    return Claim(name, (tensor, *pieces), extra)


def layout(claim: Claim, context: Context) -> Layout:
    """The tensor class that the metadata name; see `Scheme.layout`."""
    kind, settings, listed = _described(claim, context)
    pieces = dict(zip(map(_end, claim.pieces), claim.pieces, strict=True))
    present = {*pieces, *map(_end, claim.extra)}
    if present != {*listed}:
        differing = sorted(present.symmetric_difference(listed))
        raise PackingError(f"{claim.name}: the metadata and the file differ in {differing}")
    if "act_pre_scale" in pieces:
        raise PackingError(f"{claim.name}: scales of the inputs (act_pre_scale) are not supported")
    main = claim.pieces[0]
    if len(main.shape) not in (2, 3):
        raise PackingError(f"{main.name} has the shape {list(main.shape)}, no matrix")
    make = _KINDS.get(kind)
    if make is None:
        why = "is laid out for one kind of device" if kind in _FOREIGN else "is not supported"
        raise PackingError(f"{claim.name}: torchao's {kind} {why}")
    return make(claim.name, pieces, settings)


def _described(claim: Claim, context: Context) -> tuple[str, Mapping[str, Any], Sequence[str]]:
    """Class, settings and names of the pieces, by the metadata."""
    text = context.metadata.get(claim.name)
    try:
        described = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        described = None
    if isinstance(described, dict):
        kind, settings = described.get("_type"), described.get("_data")
        listed = described.get("_tensor_data_names", [_end(piece) for piece in claim.pieces])
        if isinstance(kind, str) and isinstance(settings, dict) and isinstance(listed, list):
            return kind, settings, [str(name) for name in listed]
    raise PackingError(f"{claim.name}: the file's metadata do not say how torchao stored it")


def _end(piece: TensorInfo) -> str:
    """Last part of a piece's name, after the parameter's."""
    last = piece.name.rpartition(":")[2].rpartition(".")[2]
    known = [end for end in (_MAIN, *_PIECES, *_EXTRA) if last == end or last.endswith(f"_{end}")]
    return max(known, key=len)


def _block(name: str, settings: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns that share a scale."""
    block = settings.get("block_size")
    if (
        isinstance(block, list)
        and len(block) == len(shape)
        and all(type(step) is int and step > 0 for step in block)
        and not any(extent % step for extent, step in zip(shape, block, strict=True))
        and all(step == 1 for step in block[:-2])
    ):
        return block[-2], block[-1]
    raise PackingError(f"{name}: blocks of {block!r} do not fit the shape {list(shape)}")


def _scaled(
    name: str, pieces: Mapping[str, TensorInfo], settings: Mapping[str, Any], dtypes: Sequence[str]
) -> Layout:
    """Elements, minus zero points if there are any, times the scales of blocks."""
    main = pieces[_MAIN]
    *stack, rows, cols = main.shape
    block = _block(name, settings, main.shape)
    grid = (*stack, rows // block[0], cols // block[1])
    require_piece(main, dtypes, main.shape)
    if {*pieces} - {_MAIN, "scale", "zero_point"} or "scale" not in pieces:
        raise PackingError(f"{name}: pieces {sorted(pieces)}")
    one = [(), (1,)] if grid == (1, 1) else []
    require_piece(pieces["scale"], _FLOATS, grid, *one)
    if "zero_point" in pieces:
        require_piece(pieces["zero_point"], ("I8", *_FLOATS), grid, *one)
    detail = f"{_WORDS[main.dtype]}, {_shared(block, rows, cols)}"
    encoding = None if "zero_point" in pieces else encoding_of(main, pieces["scale"], block)
    decode = partial(_decode_scaled, block=block)
    return Layout(main.shape, detail, decode, encoding=encoding)


def _shared(block: tuple[int, int], rows: int, cols: int) -> str:
    height, width = block
    if (height, width) == (rows, cols):
        return "one scale"
    if height == 1:
        return "a scale for each row" if width == cols else f"group {width}"
    return f"blocks of {height} x {width}"


def _float8(name: str, pieces: Mapping[str, TensorInfo], settings: Mapping[str, Any]) -> Layout:
    if "zero_point" in pieces:
        raise PackingError(f"{name}: zero points of 8-bit floats")
    return _scaled(name, pieces, settings, _FLOAT8)


def _int8(name: str, pieces: Mapping[str, TensorInfo], settings: Mapping[str, Any]) -> Layout:
    return _scaled(name, pieces, settings, ("I8",))


def _decode_scaled(
    pieces: Sequence[Piece], rows: Index, cols: slice, block: tuple[int, int]
) -> NDArray[np.float32]:
    main, *others = pieces
    grid = (len(main.words) // block[0], main.words.shape[1] // block[1])
    down, across = positions(rows) // block[0], positions(cols) // block[1]
    scale, *zero = (
        Piece(other.words.reshape(grid), other.dtype).values(down)[:, across] for other in others
    )
    values = main.values(rows, cols)
    with np.errstate(over="ignore", invalid="ignore"):
        if zero:
            values = values - zero[0]
        return values * scale


def _int4(name: str, pieces: Mapping[str, TensorInfo], settings: Mapping[str, Any]) -> Layout:
    """Codes of -8 to 7, two to a byte, times the scale of their group plus its zero point."""
    main = pieces[_MAIN]
    *stack, rows, half = main.shape
    shape = (*stack, rows, half * 2)
    height, group = _block(name, settings, shape)
    given = settings.get("shape")
    if height != 1 or group % 2 or given not in (None, [*shape]):
        raise PackingError(f"{name}: {list(main.shape)} bytes for the shape {given!r}")
    require_piece(main, ("I8", "U8"), main.shape)
    if {*pieces} != {_MAIN, "scale", "zero_point"}:
        raise PackingError(f"{name}: pieces {sorted(pieces)}")
    for end in ("scale", "zero_point"):
        require_piece(pieces[end], _FLOATS, (*stack, half * 2 // group, rows))
    return Layout(shape, f"int4, group {group}", partial(decode_int4, group=group, signed=True))


def _small_floats(
    name: str, pieces: Mapping[str, TensorInfo], settings: Mapping[str, Any]
) -> Layout:
    """MX and NVFP4: the scales of groups may be in tiles."""
    main, nvidia = pieces[_MAIN], "elem_dtype" not in settings
    element = settings.get("elem_dtype")
    element = element.get("_data") if isinstance(element, dict) else element
    four = nvidia or element == "float4_e2m1fn_x2"
    group, tiled = settings.get("block_size"), settings.get("is_swizzled_scales", False)
    *stack, rows, cols = main.shape
    cols = cols * 2 if four else cols
    if type(group) is not int or group not in (16, 32) or cols % group or type(tiled) is not bool:
        raise PackingError(f"{name}: groups of {group!r} for {cols} columns")
    if stack and tiled:
        raise PackingError(f"{name}: tiled scales of a stack are not supported")
    require_piece(main, ("U8",) if four else _FLOAT8, main.shape)
    dtype = "F8_E4M3" if nvidia else SCALE_DTYPE
    grid = (rows, cols // group)
    if tiled:
        down, across = blocked_shape(*grid)
        # The same words: a tile is 32 rows of 16.
        grid = (down // 4, across * 4)
    whole = ("per_tensor_scale",) if nvidia else ()
    if {*pieces} - {*whole} != {_MAIN, "scale"}:
        raise PackingError(f"{name}: pieces {sorted(pieces)}")
    # A writer that lacks the type stores exponents as bytes.
    require_piece(pieces["scale"], (dtype, "U8"), (*stack, *grid))
    if "per_tensor_scale" in pieces:
        lead = tuple(stack)
        require_piece(pieces["per_tensor_scale"], ("F32",), lead, (*lead, 1), (*lead, 1, 1))
    decode = partial(decode_small_floats, group=group, dtype=dtype, tiled=tiled, high_first=False)
    detail = "nvfp4" if nvidia else f"mx {element}"
    encoding = Encoding(
        "scaled",
        "E2M1" if four else main.dtype,
        4 if four else 8,
        group,
        scale=dtype,
        factor="multiplies" if "per_tensor_scale" in pieces else "",
    )
    shape = (*stack, rows, cols)
    return Layout(shape, f"{detail}, group {group}", decode, encoding=None if tiled else encoding)


_KINDS = {
    "Float8Tensor": _float8,
    "Int8Tensor": _int8,
    "IntxUnpackedToInt8Tensor": _int8,
    "Int4Tensor": _int4,
    "MXTensor": _small_floats,
    "NVFP4Tensor": _small_floats,
}

"""ComfyUI's quantized weights: ``scale_weight``, or a note ``comfy_quant`` that names the format.

Older files have 8-bit floats ``weight`` beside one number ``scale_weight``, which is multiplied.
Newer ones have a JSON text for each layer, as the bytes of ``comfy_quant`` or in the file's
metadata (``_quantization_metadata``), and call the scale ``weight_scale``. There is no
config.json.

Source: ComfyUI (``comfy/ops.py``, ``comfy/quant_ops.py``, ``comfy/utils.py``) and comfy-kitchen
0.2.40 (``tensor/`` and ``backends/eager/quantization.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.blocked import blocked_shape, decode_small_floats
from mlx_probe.checkpoint.packings.checks import require_piece
from mlx_probe.checkpoint.packings.fp8 import decode_scaled, encoding_of
from mlx_probe.checkpoint.packings.int4 import decode_int4
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.dtypes import SCALE_DTYPE
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

_SCALES = ("weight_scale", "weight_scale_2", "weight_zeros")
_OLD_SCALE, _NOTE = "scale_weight", "comfy_quant"
# Scales of the input, measured when the model was quantized.
_EXTRA = (_NOTE, "input_scale", "scale_input")
_METADATA = "_quantization_metadata"
_SCALE_DTYPES = ("F32", "F16", "BF16")
# Formats with a scale for the tensor or for each row: type of the elements.
_SCALED = {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "int8_tensorwise": "I8"}
# Group, type of the elements, types of the scales, and what they mean.
_GROUPED = {
    "nvfp4": (16, "U8", ("F8_E4M3", "U8"), "F8_E4M3"),
    "mxfp8": (32, "F8_E4M3", (SCALE_DTYPE, "U8"), SCALE_DTYPE),
}
_ROTATED = 256
_INT4, _INT4_SCALES = "awq_w4a16", ["weight_scale", "weight_zeros"]


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """``weight`` beside ``scale_weight``, or with a note about its format."""
    base = tensor.name.removesuffix("weight")
    if base == tensor.name or base[-1:] not in ("", "."):
        return None
    if context.ends.isdisjoint((_OLD_SCALE, _NOTE)) and not _notes(context):
        return None
    old = context.find(f"{base}{_OLD_SCALE}")
    scales = old or context.find(*(f"{base}{end}" for end in _SCALES))
    noted = f"{base}{_NOTE}" in context.tensors or base.rstrip(".") in _notes(context)
    # In a file with notes a scale without one belongs to no other packing either.
    if not (old or noted or (scales and (_NOTE in context.ends or _notes(context)))):
        return None
    extra = context.find(*(f"{base}{end}" for end in _EXTRA))
    return Claim(tensor.name, (tensor, *scales), extra)


def layout(claim: Claim, context: Context) -> Layout:
    """The format that the note names; see `Scheme.layout`."""
    weight, *scales = claim.pieces
    note = _note(claim, context)
    form = note.get("format")
    if not scales:
        raise PackingError(f"{claim.name}: its scale is missing")
    if len(weight.shape) != 2:
        raise PackingError(f"{weight.name} has the shape {list(weight.shape)}, no matrix")
    if isinstance(form, str) and form in _SCALED and len(scales) == 1:
        return _scaled(weight, scales[0], form, note)
    if isinstance(form, str) and form in _GROUPED:
        return _grouped(claim, context, form)
    if form == _INT4 and [scale.name.rpartition(".")[2] for scale in scales] == _INT4_SCALES:
        return _int4(claim, note.get("group_size", 64))
    raise PackingError(f"{claim.name}: ComfyUI's format {form!r} with these scales is not known")


def _scaled(weight: TensorInfo, scale: TensorInfo, form: str, note: Mapping[str, Any]) -> Layout:
    rows, cols = weight.shape
    require_piece(weight, (_SCALED[form],), weight.shape)
    # One number is multiplied by every element, (rows, 1) by rows; (rows,) would be by columns.
    require_piece(scale, _SCALE_DTYPES, (), (1,), (1, 1), (rows, 1))
    block = (1, cols) if scale.numel == rows > 1 else (max(rows, 1), max(cols, 1))
    detail = f"{form}, {'a scale for each row' if block[0] == 1 < rows else 'one scale'}"
    params = note.get("params")
    settings = {**note, **params} if isinstance(params, dict) else note
    if not settings.get("convrot"):
        encoding = encoding_of(weight, scale, block)
        return Layout(weight.shape, detail, partial(decode_scaled, block=block), encoding=encoding)
    size = settings.get("convrot_groupsize", _ROTATED)
    # Columns are decoded from multiples of 1024 on.
    if type(size) is not int or size not in (4, 16, 64, 256, 1024) or cols % size:
        raise PackingError(f"{weight.name}: rotated in groups of {size!r}, of {cols} columns")
    decode = partial(_rotated, block=block, size=size)
    return Layout(weight.shape, f"{detail}, rotated in groups of {size}", decode)


def _rotated(
    pieces: Sequence[Piece], rows: Index, cols: slice, block: tuple[int, int], size: int
) -> NDArray[np.float32]:
    """Rows were multiplied by an orthogonal symmetric matrix, group by group; so they are again."""
    values = decode_scaled(pieces, rows, cols, block)
    groups = values.reshape(len(values), -1, size)
    rotated: NDArray[np.float32] = (groups @ _hadamard(size)).reshape(values.shape)
    return rotated


@lru_cache(maxsize=4)
def _hadamard(size: int) -> NDArray[np.float32]:
    """The regular Hadamard matrix: a Kronecker power of the one of order 4, orthonormal."""
    seed = np.array([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]], np.float32)
    matrix: NDArray[np.float32] = seed.copy()
    while len(matrix) < size:
        matrix = np.kron(matrix, seed)
    matrix /= np.float32(np.sqrt(size))
    return matrix


def _int4(claim: Claim, group: object) -> Layout:
    weight, *scales = claim.pieces
    rows, half = weight.shape
    if type(group) is not int or group < 1 or half * 2 % group or group % 2:
        raise PackingError(f"{weight.name}: groups of {group!r} for {half * 2} columns")
    require_piece(weight, ("I8", "U8"), weight.shape)
    for scale in scales:
        require_piece(scale, _SCALE_DTYPES, (half * 2 // group, rows))
    decode = partial(decode_int4, group=group, signed=False)
    return Layout((rows, half * 2), f"{_INT4}, group {group}", decode)


def _grouped(claim: Claim, context: Context, form: str) -> Layout:
    weight, *scales = claim.pieces
    group, dtype, scale_dtypes, meaning = _GROUPED[form]
    rows, cols = weight.shape
    cols = cols * 2 if dtype == "U8" else cols
    if cols % group:
        raise PackingError(f"{weight.name}: {cols} columns are no groups of {group}")
    require_piece(weight, (dtype,), weight.shape)
    require_piece(scales[0], scale_dtypes, blocked_shape(rows, cols // group))
    if [scale.name.rpartition(".")[2] for scale in scales] != list(_SCALES[: 3 - group // 16]):
        raise PackingError(f"{weight.name}: {form} with {len(scales)} scales")
    for scale in scales[1:]:
        require_piece(scale, ("F32",), (), (1,))
    decode = partial(
        _decode_grouped, shape=(rows, cols), name=claim.name, group=group, dtype=meaning
    )
    # Rows are padded to whole groups; a bias has the number that there really are.
    bias = context.find(f"{claim.name.removesuffix('weight')}bias")
    real = bias[0].numel if bias and 0 <= rows - bias[0].numel < group else rows
    return Layout((real, cols), f"{form}, group {group}", decode)


def _decode_grouped(
    pieces: Sequence[Piece],
    rows: Index,
    cols: slice,
    shape: tuple[int, int],
    name: str,
    group: int,
    dtype: str,
) -> NDArray[np.float32]:
    values = decode_small_floats(
        pieces, rows, cols, group=group, dtype=dtype, tiled=True, high_first=True
    )
    # The writer pads with zeros, and nothing in the file says how far.
    last_row = positions(rows) == shape[0] - 1
    ends = [values[last_row]] if last_row.any() else []
    ends += [values[:, -1]] if cols.stop == shape[1] and len(values) >= group else []
    if not all(end.any() for end in ends):
        raise PackingError(f"{name}: zeros at its end, which may be padding and no weights")
    return values


def _note(claim: Claim, context: Context) -> dict[str, Any]:
    """What the file says about a layer.

    Raises:
        PackingError: Nothing that can be understood.
    """
    weight = claim.pieces[0]
    notes = [piece for piece in claim.extra if piece.name.rpartition(".")[2] == _NOTE]
    if notes:
        require_piece(notes[0], ("U8",), notes[0].shape)
        try:
            note = json.loads(context.read(notes[0]))
        except (ValueError, RecursionError) as error:
            raise PackingError(f"{notes[0].name} is no JSON: {error}") from error
    elif (layer := claim.name.removesuffix("weight").rstrip(".")) in _notes(context):
        note = _notes(context)[layer]
    elif claim.pieces[-1].name.rpartition(".")[2] != _OLD_SCALE:
        raise PackingError(f"{claim.name}: ComfyUI's note about it is missing")
    else:
        # ``scale_weight`` alone: the elements say which of the two formats it is.
        forms = {dtype: form for form, dtype in _SCALED.items() if form.startswith("float8")}
        note = {"format": forms.get(weight.dtype, weight.dtype)}
    if not isinstance(note, dict):
        raise PackingError(f"{claim.name}: ComfyUI's note about it is {note!r}")
    return note


def _notes(context: Context) -> Mapping[str, Any]:
    text = context.metadata.get(_METADATA)
    return _layers(text) if isinstance(text, str) else {}


@lru_cache(maxsize=4)
def _layers(text: str) -> Mapping[str, Any]:
    """The notes of all layers in a file's metadata; empty if they are damaged."""
    try:
        notes = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    layers = notes.get("layers") if isinstance(notes, dict) else None
    return layers if isinstance(layers, dict) else {}

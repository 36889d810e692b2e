"""NVIDIA's ModelOpt: NVFP4 and MXFP4 as bytes called ``weight``.

NVFP4 has a ``weight_scale`` for each 16 columns and a ``weight_scale_2`` for the tensor, which
multiplies it (compressed-tensors' global scale divides). Its FP8 is that of others (`fp8`).

Source: nvidia-modelopt 0.47 (``torch/quantization/qtensor/nvfp4_tensor.py`` and
``torch/export/quant_utils.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.checkpoint.packings import microscaled
from mlx_probe.checkpoint.packings.checks import missing
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Layout
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["METHODS", "claim", "layout"]

METHODS = ("modelopt", "modelopt_fp4", "modelopt_mixed")
_PIECES = ("weight_scale", "weight_scale_2", "pre_quant_scale")
# Kinds by ``quant_algo``.
_ALGORITHMS = {
    "NVFP4": "nvfp4",
    "W4A16_NVFP4": "nvfp4",
    "W4A8_NVFP4_FP8": "nvfp4",
    "NVFP4_AWQ": "nvfp4",
    "MXFP4": "mxfp4",
    "W4A8_MXFP4_FP8": "mxfp4",
}


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """Bytes called ``weight`` beside scales of the method or with ``weight_scale_2``."""
    base = tensor.name.removesuffix("weight")
    if tensor.dtype != "U8" or base == tensor.name or base[-1:] not in ("", "."):
        return None
    pieces = context.find(*(f"{base}{piece}" for piece in _PIECES))
    named = any(piece.name.endswith("weight_scale_2") for piece in pieces)
    if not pieces or not (named or context.settings.get("quant_method") in METHODS):
        return None
    return Claim(tensor.name, (tensor, *pieces), context.find(f"{base}input_scale"))


def layout(claim: Claim, context: Context) -> Layout:
    """(rows, cols / 2) bytes are (rows, cols) weights; see `Scheme.layout`."""
    missing(claim, "weight_scale")
    codes, scale, *others = claim.pieces
    for piece in others:
        if piece.name.endswith("pre_quant_scale"):
            raise PackingError(f"{piece.name}: weights for scaled inputs are not supported")
    kind = "nvfp4" if others else "mxfp4"
    algorithms = _algorithms(context.settings)
    allowed = [_ALGORITHMS.get(algorithm) for algorithm in algorithms]
    # Two bytes of scales for 32 columns are of one format; one byte may be of several.
    if kind not in allowed and (algorithms or not others):
        raise PackingError(
            f"{claim.name}: its pieces are those of {kind}, which config.json's quant_algo "
            f"{' or '.join(map(repr, algorithms)) or None} is not"
        )
    if kind not in microscaled.fitting(codes, scale):
        raise PackingError(
            f"{claim.name}: {scale.dtype} scales {list(scale.shape)} are not those of {kind} for "
            f"{list(codes.shape)} bytes"
        )
    return microscaled.layout(claim, microscaled.FORMATS[kind])


def _algorithms(settings: Mapping[str, Any]) -> list[str]:
    """What config.json names for the model and for single layers."""
    layers = settings.get("quantized_layers")
    owners = [settings, *(layers.values() if isinstance(layers, Mapping) else ())]
    given = [owner.get("quant_algo") for owner in owners if isinstance(owner, Mapping)]
    return sorted({name for name in given if isinstance(name, str) and name != "MIXED_PRECISION"})

"""Modules that compressed-tensors quantizes and compresses, and its own values of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from packers import stored

from referees.packings.cases import Made

ROWS, COLS = 32, 128


@dataclass(frozen=True)
class Scheme:
    """What is asked of compressed-tensors for one module.

    Attributes:
        weights: Arguments of QuantizationArgs, or the name of a preset scheme.
        form: Its compressor; empty for the one that it chooses itself.
        inputs: Arguments for the activations, whose scales lie beside the weight.
        rows: Outputs of the module.
        cols: Inputs of the module.
        dtype: torch's name of the type of weights and scales.
    """

    weights: Mapping[str, Any] | str
    form: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    rows: int = ROWS
    cols: int = COLS
    dtype: str = "float32"


def compressed(**schemes):
    """One module for each scheme: written by its compressor, and read by it in float32."""
    pytest.importorskip("compressed_tensors")
    import torch
    from compressed_tensors.compressors.base import compress_module
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    torch.manual_seed(11)
    model = torch.nn.Module()
    for name, scheme in schemes.items():
        weight = torch.nn.Linear(scheme.cols, scheme.rows, dtype=getattr(torch, scheme.dtype))
        setattr(model, name, weight)
    groups = {f"group_{name}": _scheme(scheme, name) for name, scheme in schemes.items()}
    apply_quantization_config(model, QuantizationConfig(config_groups=groups), show_progress=False)
    tensors, values = {}, {}
    for name, scheme in schemes.items():
        module = getattr(model, name)
        _calibrate(module)
        compress_module(module, scheme.form or None)
        state = dict(module.state_dict())
        tensors |= {f"{name}.{end}": stored(tensor) for end, tensor in state.items()}
        values[f"{name}.bias"] = state.pop("bias").float().numpy()
        values[f"{name}.weight"] = _values(state, module.quantization_scheme).numpy()
    config = QuantizationConfig.from_pretrained(model)
    if config is None:
        return Made(tensors, values)
    formats = {group.format for group in config.config_groups.values()}
    config.format = formats.pop() if len(formats) == 1 else "mixed-precision"
    settings = {"quant_method": "compressed-tensors", **config.model_dump(mode="json")}
    return Made(tensors, values, {"quantization_config": settings})


def _scheme(scheme, name):
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme

    if isinstance(scheme.weights, str):
        return preset_name_to_scheme(scheme.weights, [name])
    inputs = QuantizationArgs(**scheme.inputs) if scheme.inputs else None
    weights = QuantizationArgs(**scheme.weights)
    return QuantizationScheme(targets=[name], weights=weights, input_activations=inputs)


def _calibrate(module):
    """Scales and zero points of a module by the package's formulas, from its blocks' extremes."""
    import torch
    from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam

    args = module.quantization_scheme.weights
    if args is None or not hasattr(module, "weight_scale"):
        return
    weight, scale = module.weight.data, module.weight_scale
    rows, cols = weight.shape
    height, width = {
        "tensor": (rows, cols),
        "channel": (1, cols),
        "token": (1, cols),
        "block": args.block_structure,
    }.get(args.strategy, (1, args.group_size))
    padded = torch.nn.functional.pad(weight, (0, -cols % width, 0, -rows % height))
    blocks = padded.reshape(math.ceil(rows / height), height, -1, width)
    least, most = blocks.amin((1, 3)), blocks.amax((1, 3))
    tensor_scale = None
    if hasattr(module, "weight_global_scale"):
        tensor_scale = generate_gparam(weight.min(), weight.max())
        module.weight_global_scale.data = tensor_scale
    scales, zeros = calculate_qparams(least, most, args, tensor_scale)
    scale.data = scales.reshape(scale.shape).to(scale.dtype)
    if hasattr(module, "weight_zero_point"):
        module.weight_zero_point.data = zeros.reshape(scale.shape)


def _values(state, scheme):
    """The package's dequantization, asked for float32 and checked against the one that it does."""
    import torch
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.compressors.mx_utils import decompress_mx_scale
    from compressed_tensors.compressors.mxfp6.helpers import unpack_fp6_from_uint8
    from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
    from compressed_tensors.quantization.lifecycle.forward import dequantize

    form = scheme.format.value if hasattr(scheme.format, "value") else scheme.format
    compressor = BaseCompressor.get_value_from_registry(form)
    own = compressor.decompress(dict(state), scheme)["weight"]
    if "weight_scale" not in state:
        return own.float()
    mx = form.startswith("mx")
    scale = decompress_mx_scale(state["weight_scale"]) if mx else state["weight_scale"]
    state = state | {"weight_scale": scale.float()}
    if form in ("nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp6-pack-quantized"):
        rows, nbytes = state["weight_packed"].shape
        if form.startswith("mxfp6"):
            codes = unpack_fp6_from_uint8(state["weight_packed"], rows, nbytes * 4 // 3).float()
        else:
            codes = unpack_fp4_from_uint8(state["weight_packed"], rows, nbytes * 2, torch.float32)
    elif mx:
        codes = state["weight"]
    else:
        exact = compressor.decompress(state, scheme)["weight"]
        torch.testing.assert_close(own.float(), exact, rtol=2**-7, atol=0)
        return exact
    tensor_scale = state.get("weight_global_scale")
    exact = dequantize(
        codes,
        state["weight_scale"],
        args=scheme.weights,
        dtype=torch.float32,
        global_scale=tensor_scale,
    )
    torch.testing.assert_close(own.float(), exact, rtol=2**-6, atol=0)
    return exact

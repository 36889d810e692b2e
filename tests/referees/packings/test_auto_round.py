"""AutoRound's packings, by its own exporters and its own inference modules.

The settings are those that AutoRound 0.16.1 writes into config.json for the same schemes.
"""

from dataclasses import replace
from functools import partial

import pytest
from packers import stored

from referees.packings.cases import Case, Made, judge

ROWS, COLS = 64, 128
GPTQ = {"quant_method": "gptq", "desc_act": False, "provider": "auto-round"}
AWQ = {"quant_method": "awq", "version": "gemm", "zero_point": True, "provider": "auto-round"}
# By export format, the settings that say so. Only the first two store zero points as they are.
FORMATS = {
    **{
        form: {"packing_format": form}
        for form in (
            *("auto_round", "auto_round:gptqmodel"),
            *("auto_round:auto_gptq", "auto_round:auto_awq"),
        )
    },
    "auto_gptq": GPTQ,
    "auto_awq": AWQ,
}
LLM_COMPRESSOR = "auto_round:llm_compressor"


def layer(**settings):
    """A model of one linear layer, with what AutoRound notes at a layer that it has tuned."""
    pytest.importorskip("auto_round")
    import torch

    torch.manual_seed(11)
    model = torch.nn.Module()
    model.dtype = torch.bfloat16
    model.m = torch.nn.Linear(COLS, ROWS, bias=False)
    for name, value in {"act_bits": 16, "act_data_type": "", "sym": True, **settings}.items():
        setattr(model.m, name, value)
    return model


def made(module, values, **settings):
    tensors = {f"m.{name}": stored(part) for name, part in module.state_dict().items()}
    config = {"quant_method": "auto-round", "autoround_version": "0.16.1", "sym": True, **settings}
    return Made(tensors, {"m.weight": values.numpy()}, {"quantization_config": config})


def integers(form, bits, group, symmetric):
    settings = {"bits": bits, "group_size": group, "sym": symmetric, "data_type": "int"}
    model = layer(**settings)
    import torch
    from auto_round.export.export_to_autoround.export import pack_layer
    from auto_round.export.export_to_awq.export import pack_layer as pack_awq
    from auto_round.export.export_to_awq.utils import dequantize_gemm

    size = COLS if group == -1 else group
    lines = model.m.weight.data.reshape(ROWS, -1, size)
    low, high = lines.amin(-1), lines.amax(-1)
    if symmetric:
        scale = (torch.maximum(-low, high) / 2 ** (bits - 1)).half().float()
        zero = torch.full_like(scale, 2 ** (bits - 1))
    else:
        scale = ((high - low) / (2**bits - 1)).half().float()
        # One less is stored, and zero would wrap: AutoRound refuses to make it, too.
        zero = (-low / scale).round().clamp(1, 2**bits - 1)
    model.m.scale, model.m.zp = scale, zero
    (pack_awq if "awq" in form else pack_layer)("m", model, form)
    packed, exact = model.m, model.m.scales.float()
    if "awq" in form:
        args = packed.qweight, packed.qzeros, exact, bits, size
        values = dequantize_gemm(*args).T
    else:
        packed.scales, stored = exact, packed.scales
        values = packed(torch.eye(COLS)).T
        packed.scales = stored
    return made(packed, values.contiguous(), **settings, **FORMATS[form])


def floats(kind, bits, group, form, module):
    settings = {"bits": bits, "group_size": group, "data_type": kind, "act_data_type": kind}
    model = layer(**settings)
    import torch
    from auto_round.data_type.nvfp import calculate_gparam
    from auto_round.data_type.utils import get_quant_func
    from auto_round.experimental import qmodules
    from auto_round.export.export_to_autoround.export_to_nvfp_mx import pack_layer
    from auto_round.schemes import QuantizationScheme

    quantize, _ = get_quant_func(kind, bits, sym=True, disable_opt_rtn=True)
    options = {}
    if kind == "nv_fp":
        model.m.weight_global_scale = calculate_gparam(model.m.weight.data, group)
        options["global_scale"] = model.m.weight_global_scale
    _, scale, _ = quantize(model.m.weight.data, bits=bits, group_size=group, **options)
    model.m.scale = scale.reshape(ROWS, -1)
    pack_layer("m", model, form)
    scheme = QuantizationScheme(bits=bits, group_size=group, act_group_size=group, data_type=kind)
    reader = getattr(qmodules, module)(COLS, ROWS, scheme, dtype=torch.float32)
    reader.load_state_dict(model.m.state_dict(), strict=False)
    values = reader.dequant_weight_online()
    # With a scale of the tensor, the products' order is not ours.
    slack = values.abs().numpy() * 2**-22 if options else 0.0
    return replace(made(model.m, values, packing_format=form, **settings), slack=slack)


def fp8(kind, group):
    model = layer(bits=8, group_size=group, data_type=kind)
    import torch
    from auto_round.export.export_to_autoround.export_to_fp8 import pack_layer

    weight = model.m.weight.data
    largest = torch.finfo(getattr(torch, "float8_e5m2" if "e5m2" in kind else "float8_e4m3fn")).max
    block = {0: (ROWS, COLS), -1: (1, COLS)}.get(group, group)
    blocks = weight.reshape(ROWS // block[0], block[0], COLS // block[1], block[1])
    scale = (blocks.abs().amax((1, 3)) / largest).bfloat16().float()
    model.m.scale, model.m.zp = scale, None
    pack_layer("m", model, kind)
    (name,) = [name for name in model.m.state_dict() if "scale" in name]
    factors = getattr(model.m, name).float().reshape(scale.shape)
    factors = factors.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)
    settings = {"bits": 8, "group_size": group, "data_type": kind, "activation_scheme": "dynamic"}
    settings["fmt"] = "e5m2" if "e5m2" in kind else "e4m3"
    return made(model.m, model.m.weight.detach().float() * factors, **settings)


def with_activations():
    """Four-bit weights of a model whose inputs are FP8: an inner scale lies beside them."""
    settings = {"bits": 4, "group_size": 32, "data_type": "int", "act_bits": 8}
    model = layer(**settings)
    import torch

    triton = pytest.importorskip("auto_round.export.export_to_autoround.qlinear_triton_act")
    packed = triton.QuantLinear(4, 32, COLS, ROWS, False)
    scale = (model.m.weight.reshape(ROWS, -1, 32).abs().amax(-1) / 8).detach()
    inner = torch.tensor([1.0]), torch.tensor([0.5])
    packed.pack(model.m.requires_grad_(False), scale, torch.full_like(scale, 8), *inner)
    return made(packed, model.m.weight, packing_format="auto_round", **settings)


CASES = [
    *(
        Case(
            f"{form} {bits} bit, group {group}, {'symmetric' if symmetric else 'zero points'}",
            partial(integers, form, bits, group, symmetric),
            # AutoRound itself exports these under its own method only.
            f"AWQ of {bits} bits" if form == "auto_awq" and bits != 4 else "",
        )
        for form in FORMATS
        for bits in ((4, 5, 6, 7) if "awq" in form else (2, 3, 4, 5, 6, 7, 8))
        for group in (32, 128, -1)
        for symmetric in (True, False)
    ),
    *(
        Case(f"{module}, {form}", partial(floats, kind, bits, group, form, module))
        for kind, bits, group, form, module in (
            ("mx_fp", 4, 32, LLM_COMPRESSOR, "MXFP4QuantLinear"),
            ("mx_fp", 8, 32, LLM_COMPRESSOR, "MXFP8QuantLinear"),
            ("mx_int", 4, 32, "auto_round", "MXINT4QuantLinear"),
            ("nv_fp", 4, 16, LLM_COMPRESSOR, "NVFP4QuantLinear"),
            ("nvfp4_v2", 4, 16, "auto_round:llm_compressor_nvfp4_e5m3", "NVFP4E5M3QuantLinear"),
        )
    ),
    Case("inputs in FP8", with_activations, "its effect on the values is not known"),
    *(
        Case(f"{kind}, {what}", partial(fp8, kind, group), refused)
        for kind in ("fp", "fp8_e5m2")
        for what, group, refused in (
            ("one scale", 0, ""),
            ("a scale for each row", -1, ""),
            ("blocks of 32 x 64", (32, 64), "weight_scale_inv"),
        )
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_auto_round(case, tmp_path, record_property):
    judge(case, tmp_path, record_property)

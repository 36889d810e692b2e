"""AutoRound 0.16: its small floats and MXINT4, packed and read back by its own modules."""

PACKAGE = "auto_round"
ROWS, COLS = 8, 192
# Case: data type, bits, group size, packing format.
TYPES = {
    "mx_fp4": ("mx_fp4", 4, 32, "auto_round:llm_compressor"),
    "mx_fp8": ("mx_fp8", 8, 32, "auto_round:llm_compressor"),
    "nv_fp4": ("nv_fp", 4, 16, "auto_round:llm_compressor"),
    "mx_int4": ("mx_int4", 4, 32, "auto_round:llm_compressor"),
    "nvfp4_v2": ("nvfp4_v2", 4, 16, "auto_round:llm_compressor_nvfp4_e5m3"),
}


def cases(seed=0):
    import torch
    from auto_round.data_type.nvfp import calculate_gparam
    from auto_round.data_type.utils import get_quant_func
    from auto_round.experimental import qmodules
    from auto_round.export.export_to_autoround import qlinear_fp, qlinear_int
    from auto_round.schemes import QuantizationScheme

    readers = {
        "mx_fp4": qmodules.MXFP4QuantLinear,
        "mx_fp8": qmodules.MXFP8QuantLinear,
        "nv_fp4": qmodules.NVFP4QuantLinear,
        "mx_int4": qmodules.MXINT4QuantLinear,
        "nvfp4_v2": qmodules.NVFP4E5M3QuantLinear,
    }
    torch.manual_seed(seed)
    made = {}
    for name, (kind, bits, group, packing) in TYPES.items():
        linear = torch.nn.Linear(COLS, ROWS, bias=False).requires_grad_(False)
        quantize, _ = get_quant_func(kind, bits, True)
        whole = calculate_gparam(linear.weight, group) if kind == "nv_fp" else None
        options = {} if whole is None else {"global_scale": whole}
        _, scale, _ = quantize(tensor=linear.weight, bits=bits, group_size=group, **options)
        writer = qlinear_int if kind == "mx_int4" else qlinear_fp
        module = writer.QuantLinear(
            bits, group, COLS, ROWS, False, data_type=kind, act_bits=bits if bits == 8 else 16
        )
        scale = scale.reshape(ROWS, -1)
        module.pack(linear, scale, global_scale=whole, device="cpu")
        tensors = {
            key: value
            for key in ("weight", "weight_packed", "weight_scale", "weight_global_scale")
            if isinstance(value := getattr(module, key, None), torch.Tensor)
        }
        scheme = QuantizationScheme(bits=bits, group_size=group, act_group_size=group)
        reader = readers[name](COLS, ROWS, scheme, dtype=torch.float32)
        for key, value in tensors.items():
            setattr(reader, key, value)
        values = reader.dequant_weight_online()
        config = {"quant_method": "auto-round", "packing_format": packing, "data_type": kind}
        config |= {"bits": bits, "group_size": group, "sym": True}
        stored = {f"m.{key}": tensor for key, tensor in tensors.items()}
        made[f"compressed_tensors AutoRound {name}"] = stored, config, values
    return made

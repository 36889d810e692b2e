"""hqq 0.2.8: state dictionaries of its layers as safetensors have them, and its own values."""

PACKAGE = "hqq"
ROWS, COLS = 32, 40
BITS = (8, 6, 5, 4, 3, 2, 1)


def cases(seed=0):
    import torch

    torch.manual_seed(seed)
    made = {}
    for bits in BITS:
        for axis in (0, 1):
            made[f"hqq {bits} bit axis {axis}"] = _case(bits, axis, 16 if bits > 3 else 40)
    made["hqq 4 bit rows"] = _case(4, 1, None)
    made["hqq 4 bit as floats"] = _case(4, 1, 16, view_as_float=True)
    made["hqq 3 bit as floats"] = _case(3, 0, 16, view_as_float=True)
    return made


def _case(bits, axis, group, **options):
    import torch
    from hqq.core.quantize import HQQLinear, Quantizer, hqq_base_quant_config

    linear = torch.nn.Linear(COLS, ROWS, bias=False).requires_grad_(False)
    linear.weight[:, 3] *= 7
    config = hqq_base_quant_config(bits, group or 8, axis=axis, **options)
    config["weight_quant_params"] |= {"group_size": group, "optimize": False}
    module = HQQLinear(linear, config, compute_dtype=torch.float16, device="cpu")
    meta = module.meta | {"compute_dtype": torch.float32}
    meta |= {key: module.meta[key].float() for key in ("scale", "zero")}
    values = Quantizer.dequantize(module.W_q, meta)
    module.encoded_state_dict = True
    state = module.state_dict()
    settings = {
        "quant_method": "hqq",
        "quant_config": {"weight_quant_params": config["weight_quant_params"]},
    }
    stored = {f"m.{key}": tensor for key, tensor in state.items() if tensor is not None}
    return stored, settings, values

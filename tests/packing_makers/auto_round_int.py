"""AutoRound 0.16: its integers in the layouts of GPTQ (zero points minus one or not) and AWQ."""

PACKAGE = "auto_round"
ROWS, COLS, GROUP = 32, 64, 32


def cases(seed=0):
    import torch

    torch.manual_seed(seed)
    made = {}
    for packing in ("auto_round", "auto_round:gptqmodel", "auto_round:auto_gptq"):
        for bits in (2, 3, 4, 5, 6, 7, 8):
            for sym in (True, False) if bits in (2, 3, 4) else (False,):
                tensors, values = _gptq(packing, bits, sym)
                name = f"gptq {packing} {bits} bit {'symmetric' if sym else 'asymmetric'}"
                made[name] = tensors, _config(packing, bits, sym), values
    for bits in (4, 5, 6, 7):
        tensors, values = _awq(bits)
        made[f"awq auto_round:auto_awq {bits} bit"] = (
            tensors,
            _config("auto_round:auto_awq", bits, False),
            values,
        )
    return made


def _config(packing, bits, sym):
    config = {"quant_method": "auto-round", "packing_format": packing, "data_type": "int"}
    return config | {"bits": bits, "group_size": GROUP, "sym": sym}


def _quantized(bits, sym):
    """A layer, with its scales and zero points of (rows, groups)."""
    import torch

    linear = torch.nn.Linear(COLS, ROWS, bias=False).requires_grad_(False)
    lines = linear.weight.reshape(ROWS, -1, GROUP)
    if sym:
        scale = lines.abs().amax(-1) / 2 ** (bits - 1)
        return linear, scale, 2 ** (bits - 1)
    low, high = lines.amin(-1), lines.amax(-1)
    scale = (high - low) / (2**bits - 1)
    return linear, scale, (-low / scale).round().clamp(1, 2**bits - 1)


def _gptq(packing, bits, sym):
    import torch
    from auto_round.export.export_to_autoround.export import (
        dynamic_import_quant_linear_for_packing,
    )

    linear, scale, zero = _quantized(bits, sym)
    layer = dynamic_import_quant_linear_for_packing(packing, bits, GROUP, sym)
    module = layer(bits, GROUP, COLS, ROWS, bias=False)
    module.device = "cpu"
    module.pack(linear, scale, zero, None, device="cpu")
    stored = {f"m.{key}": tensor for key, tensor in module.state_dict().items()}
    # Its own product with the identity is the transposed weight.
    module.scales = module.scales.float()
    return stored, module(torch.eye(COLS)).T


def _awq(bits):
    from auto_round.export.export_to_awq.utils import WQLinear_GEMM, dequantize_gemm

    linear, scale, zero = _quantized(bits, False)
    module = WQLinear_GEMM.from_linear(
        linear, bits, GROUP, scales=scale.T.contiguous(), zeros=zero.T.contiguous(), device="cpu"
    )
    values = dequantize_gemm(module.qweight, module.qzeros, module.scales.float(), bits, GROUP).T
    return {f"m.{key}": tensor for key, tensor in module.state_dict().items()}, values

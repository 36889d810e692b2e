"""compressed-tensors 0.20: the formats of small floats."""

from packers import by_compressed_tensors

PACKAGE = "compressed_tensors"
ROWS, COLS = 8, 192
# Format: arguments of QuantizationArgs.
FORMATS = {
    "mxfp4-pack-quantized": {"num_bits": 4, "group_size": 32},
    "mxfp6-pack-quantized": {"num_bits": 6, "group_size": 32},
    "mxfp8-quantized": {"num_bits": 8, "group_size": 32},
    "nvfp4-pack-quantized": {"num_bits": 4, "group_size": 16, "strategy": "tensor_group"},
}
LARGEST = {4: 6, 6: 7.5, 8: 448}


def cases(seed=0):
    import torch
    from compressed_tensors.quantization import QuantizationArgs

    torch.manual_seed(seed)
    made = {}
    for form, settings in FORMATS.items():
        args = QuantizationArgs(**{"type": "float", "strategy": "group"} | settings)
        weight = torch.randn(ROWS, COLS) * 0.02
        groups = weight.reshape(ROWS, -1, args.group_size)
        scale = groups.abs().amax(-1) / LARGEST[args.num_bits]
        state = {"weight": weight}
        if form.startswith("nv"):
            state["weight_global_scale"] = torch.tensor([448 / scale.max().item()])
            scale = (scale * state["weight_global_scale"]).to(torch.float8_e4m3fn).float()
        else:
            scale = torch.exp2(torch.ceil(torch.log2(scale)))
        state["weight_scale"] = scale
        made[f"compressed_tensors {form}"] = by_compressed_tensors(form, args, state)
    return made

"""compressed-tensors 0.20: the formats of small floats."""

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
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

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
        compressor = BaseCompressor.get_value_from_registry(form)
        scheme = QuantizationScheme(targets=["Linear"], weights=args)
        packed = compressor.compress(state, scheme)
        values = compressor.decompress(dict(packed), scheme)["weight"]
        group = {"targets": ["Linear"], "weights": args.model_dump(mode="json")}
        config = {"quant_method": "compressed-tensors", "format": form}
        config |= {"config_groups": {"group_0": group}}
        tensors = {f"m.{key}": tensor for key, tensor in packed.items() if tensor is not None}
        made[f"compressed_tensors {form}"] = tensors, config, values
    return made

"""comfy-kitchen 0.2.40: ComfyUI's layouts, quantized and read back by the package ComfyUI uses."""

PACKAGE = "comfy_kitchen"
# Scales in tiles: more than one tile of 128 rows and 4 groups, and not whole ones.
SHAPES = {"nvfp4": (144, 96), "mxfp8": (160, 192)}
# Case: layout, its arguments, the note about the layer.
LAYOUTS = {
    "float8_e4m3fn": ("TensorCoreFP8Layout", {}, {}),
    "float8_e5m2": ("TensorCoreFP8Layout", {"dtype": "float8_e5m2"}, {}),
    "int8_tensorwise": ("TensorWiseINT8Layout", {}, {}),
    "int8_tensorwise rows": ("TensorWiseINT8Layout", {"per_channel": True}, {}),
    **{
        f"int8_tensorwise rotated {size}": (
            "TensorWiseINT8Layout",
            {"per_channel": True, "convrot": True, "convrot_groupsize": size},
            {"convrot": True, "convrot_groupsize": size},
        )
        for size in (16, 64, 256)
    },
    "nvfp4": ("TensorCoreNVFP4Layout", {}, {}),
    "mxfp8": ("TensorCoreMXFP8Layout", {}, {}),
}


def cases(seed=0):
    import json

    import torch
    from comfy_kitchen import tensor as layouts

    torch.manual_seed(seed)
    made = {"comfy awq_w4a16": _awq(layouts.TensorCoreAWQW4A16Layout)}
    for name, (layout, options, extra) in LAYOUTS.items():
        form = getattr(layouts, layout)
        arguments = options | {k: getattr(torch, v) for k, v in options.items() if k == "dtype"}
        codes, params = form.quantize(torch.randn(*SHAPES.get(name, (16, 256))) * 0.02, **arguments)
        values = form.dequantize(codes, params)
        tensors = form.state_dict_tensors(codes, params)
        stored = {f"m.weight{end}": tensor for end, tensor in tensors.items()}
        note = json.dumps({"format": name.split()[0]} | extra)
        marker = torch.tensor(list(note.encode()), dtype=torch.uint8)
        made[f"comfy {name}"] = stored | {"m.comfy_quant": marker}, {}, values
        if "float8" in name:
            # Files without notes: fp8_scaled, before comfy_quant; and notes in the metadata.
            old = {"m.weight": codes, "m.scale_weight": stored["m.weight_scale"]}
            old["m.scale_input"] = torch.ones(())
            made[f"comfy {name} fp8_scaled"] = old, {}, values
            layers = {"format_version": "1.0", "layers": {"m": json.loads(note)}}
            metadata = {"__metadata__": {"_quantization_metadata": json.dumps(layers)}}
            made[f"comfy {name} metadata"] = stored, metadata, values
    return made


def _awq(layout):
    """Codes of another package's calibration: any will do."""
    import json

    import torch

    codes = torch.randint(-128, 128, (16, 64), dtype=torch.int8)
    scales, zeros = torch.rand(2, 4, 16)
    params = layout.Params(
        scale=scales, zeros=zeros, group_size=32, orig_dtype=torch.float32, orig_shape=(16, 128)
    )
    stored = {f"m.weight{end}": t for end, t in layout.state_dict_tensors(codes, params).items()}
    note = json.dumps({"format": "awq_w4a16", "group_size": 32})
    stored["m.comfy_quant"] = torch.tensor(list(note.encode()), dtype=torch.uint8)
    return stored, {}, layout.dequantize(codes, params)

"""optimum-quanto 0.2.7: modules that it quantized, with the names of their state."""

PACKAGE = "optimum.quanto"
# Columns: cut into groups of 128, 96, 64 and 32; not cut, for being few or odd.
WIDTHS = (256, 192, 320, 160, 96, 100, 132)


def cases(seed=0):
    import torch
    from optimum import quanto

    torch.manual_seed(seed)
    names = ("qint8", "qfloat8_e4m3fn", "qfloat8_e5m2")
    sizes = [(name, 24, 100) for name in names]
    sizes += [(name, 24, cols) for name in ("qint4", "qint2") for cols in WIDTHS]
    # The last rows of bytes are not full.
    sizes += [("qint4", 5, 100), ("qint2", 9, 256)]
    made = {}
    for name, rows, cols in sizes:
        linear = torch.nn.Linear(cols, rows, bias=False)
        model = torch.nn.ModuleDict({"q_proj": linear})
        quanto.quantize(model, weights=getattr(quanto, name))
        quanto.freeze(model)
        tensors = {f"self_attn.{key}": tensor for key, tensor in model.state_dict().items()}
        config = {"quant_method": "quanto", "weights": name.removeprefix("q")}
        config["__config__"] = {"model_type": "llama", "hidden_size": cols}
        values = model["q_proj"].weight.dequantize().detach()
        made[f"quanto {name} {rows}x{cols}"] = tensors, config, values
    return made

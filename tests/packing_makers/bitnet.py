"""transformers 5.24: BitNet's layers, and their own products with the identity."""

PACKAGE = "transformers"
ROWS, COLS = 32, 48


def cases(seed=0):
    import torch
    from transformers.integrations import bitnet

    torch.manual_seed(seed)
    made = {}
    # torch.compile needs a compiler; the functions are the same without it.
    with torch._dynamo.config.patch(disable=True):
        for kind, layer in (
            ("bitlinear", bitnet.BitLinear),
            ("autobitlinear", bitnet.AutoBitLinear),
        ):
            weight = torch.randint(-1, 2, (ROWS, COLS)).float()
            packed = bitnet.pack_weights(weight.clone())
            module = layer(COLS, ROWS, bias=False, dtype=torch.float32)
            module.weight_scale = torch.tensor([1.4375])
            if kind == "bitlinear":
                module.weight = packed
            else:
                unpacked = bitnet.unpack_weights(packed, torch.float32)
                module.weight = torch.nn.Parameter(unpacked)
            with torch.no_grad():
                values = module(torch.eye(COLS)).T
            tensors = {"m.weight": packed, "m.weight_scale": module.weight_scale}
            config = {"quant_method": "bitnet", "linear_class": kind}
            made[f"bitnet {kind}"] = tensors, config | {"quantization_mode": "offline"}, values
    return made

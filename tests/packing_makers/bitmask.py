"""compressed-tensors 0.10.2: its sparse formats, which later versions do not write."""

PACKAGE = "compressed_tensors.compressors.sparse_compressors"
ROWS, COLS = 12, 64


def cases(seed=0):
    import torch
    from compressed_tensors.compressors.sparse_compressors.sparse_24_bitmask import (
        Sparse24BitMaskTensor,
        get_24_bytemasks,
    )
    from compressed_tensors.compressors.sparse_compressors.sparse_bitmask import BitmaskTensor

    torch.manual_seed(seed)
    made = {}
    dense = (torch.randn(ROWS, COLS) * 0.02).bfloat16()
    sparse = dense * get_24_bytemasks(dense)
    # Values that are zero though their bit is set.
    sparse[0, :8] = 0
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        scale = sparse.abs().amax(1, keepdim=True).float() / 448
        whole = dtype == torch.bfloat16
        stored = sparse if whole else (sparse.float() / scale).to(dtype)
        values = sparse.float() if whole else stored.float() * scale
        scales = {} if whole else {"m.weight_scale": scale}
        name = str(dtype).removeprefix("torch.")
        for form, tensor in (
            ("sparse-24-bitmask", Sparse24BitMaskTensor),
            ("sparse-bitmask", BitmaskTensor),
        ):
            pieces = tensor.from_dense(stored).dict("m.weight")
            config = {"quant_method": "compressed-tensors", "sparsity_config": {"format": form}}
            config["format"] = "dense" if whole else "float-quantized"
            made[f"bitmask {form} {name}"] = pieces | scales, config, values
    return made

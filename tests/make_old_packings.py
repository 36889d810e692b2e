"""Make the fixtures of packages that do not install beside today's torch and transformers.

    pip install --no-deps --target OLD auto-gptq==0.7.1 compressed-tensors==0.9.4
    PYTHONPATH=OLD python tests/make_old_packings.py

It needs torch, transformers and pydantic. Versions before 0.10 of compressed-tensors fill 32-bit
words with whole codes only, know an order of columns, and have formats that are gone today.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import packers
import torch

FIXTURE = Path(__file__).parent / "data" / "packings" / "old.npz"
ROWS, COLS = 32, 64


def weight(rows=ROWS, cols=COLS):
    torch.manual_seed(11)
    return torch.nn.Linear(cols, rows, bias=False).requires_grad_(False)


def auto_gptq():
    """Its layer for all widths, from its file: the package itself does not import any more."""
    (folder,) = importlib.util.find_spec("auto_gptq").submodule_search_locations
    path = Path(folder) / "nn_modules" / "qlinear" / "qlinear_cuda.py"
    spec = importlib.util.spec_from_file_location("qlinear_cuda", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cases = {}
    for bits in (2, 3, 4, 8):
        for group in (32, -1):
            for ordered in (False, True) if group == 32 else (False,):
                linear = weight()
                scales, zeros = packers._affine(linear.weight, bits, COLS if group == -1 else group)
                order = torch.arange(COLS) // (COLS if group == -1 else group)
                order = order[torch.randperm(COLS)] if ordered else order
                packed = module.QuantLinear(bits, group, COLS, ROWS, False)
                packed.pack(linear, scales, zeros.clone(), order.int())
                packed.scales = packed.scales.half().float()
                values = packed(torch.eye(COLS)).T
                packed.scales = packed.scales.half()
                tensors = {f"m.{name}": part for name, part in packed.state_dict().items()}
                config = {"quant_method": "gptq", "bits": bits, "group_size": group}
                config |= {"desc_act": ordered, "checkpoint_format": "gptq"}
                name = f"gptq {bits} bit, group {group}{', act-order' * ordered}"
                cases[name] = tensors, config, values
    return cases


def compressed_tensors():
    """Packed integers: whole codes in a word, orders of columns, zero points."""
    from compressed_tensors.compressors.quantized_compressors import pack_quantized
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import dequantize

    cases = {}
    compressor = pack_quantized.PackedQuantizationCompressor()
    grid = [(bits, "channel", True, False) for bits in (2, 3, 4, 5, 6, 7, 8)]
    grid += [(bits, "group", True, True) for bits in (3, 4, 8)] + [(4, "group", False, False)]
    for bits, strategy, symmetric, ordered in grid:
        settings = {"num_bits": bits, "strategy": strategy, "symmetric": symmetric}
        settings |= {"group_size": 32} if strategy == "group" else {}
        settings |= {"actorder": "group"} if ordered else {}
        args = QuantizationArgs(**settings)
        matrix = weight().weight
        lines = matrix.reshape(ROWS, -1, 32 if strategy == "group" else COLS)
        scale = lines.abs().amax(-1) / 2 ** (bits - 1)
        zero = torch.randint(-3, 4, scale.shape, dtype=torch.int8) * (not symmetric)
        order = (torch.arange(COLS) // 32)[torch.randperm(COLS)].int() if ordered else None
        packed = compressor.compress_weight(matrix, scale, args, zero, order)
        codes = pack_quantized.unpack_from_int32(packed["weight_packed"], bits, matrix.shape)
        values = dequantize(codes, scale, zero, args, g_idx=order)
        parts = packed | {"weight_scale": scale} | ({"weight_g_idx": order} if ordered else {})
        name = f"compressed_tensors {bits} bit, {strategy}{', act-order' * ordered}"
        cases[name + ", zero points" * (not symmetric)] = (
            {f"m.{end}": part.contiguous() for end, part in parts.items()},
            _config("pack-quantized", weights=args.model_dump(mode="json")),
            values,
        )
    return cases


def gone():
    """Formats of compressed-tensors that its later versions refuse."""
    from compressed_tensors.compressors.sparse_compressors import sparse_24_bitmask, sparse_bitmask
    from compressed_tensors.compressors.sparse_quantized_compressors import marlin_24
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    matrix = weight(64, 128).weight.half()
    # Two of four neighbours are zero.
    lesser = matrix.reshape(-1, 4).abs().argsort(-1)[:, :2]
    sparse = matrix.reshape(-1, 4).scatter(1, lesser, 0).reshape(matrix.shape)
    cases = {}
    for form, writer in (
        ("sparse-bitmask", sparse_bitmask.BitmaskTensor),
        ("sparse-24-bitmask", sparse_24_bitmask.Sparse24BitMaskTensor),
    ):
        parts = writer.from_dense(sparse).dict("m.weight")
        sparsity = {"format": form, "sparsity_structure": "2:4"}
        config = {"quant_method": "compressed-tensors", "sparsity_config": sparsity}
        cases[f"compressed_tensors {form}"] = parts, config, sparse
    args = QuantizationArgs(num_bits=4, strategy="group", group_size=128)
    scheme = QuantizationScheme(targets=["m"], weights=args)
    scale = sparse.abs().amax(-1, keepdim=True) / 7
    state = {"m.weight": sparse, "m.weight_scale": scale}
    state["m.weight_zero_point"] = torch.zeros(scale.shape, dtype=torch.int8)
    packed = marlin_24.Marlin24Compressor().compress(state, {"m": scheme.weights})
    config = _config("marlin-24", weights=args.model_dump(mode="json"))
    cases["compressed_tensors marlin-24"] = packed, config, sparse
    return cases


def _config(form, **group):
    groups = {"group_0": {"targets": ["Linear"], **group}}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": groups}


def main():
    arrays = {}
    for make in (auto_gptq, compressed_tensors, gone):
        for case, (tensors, config, values) in make().items():
            arrays[f"{case}|config"] = np.array(json.dumps(config))
            arrays[f"{case}|values"] = values.float().contiguous().numpy()
            for name, tensor in tensors.items():
                array, dtype = packers.stored(tensor)
                arrays[f"{case}|{name}:{dtype}"] = array
    np.savez_compressed(FIXTURE, **arrays)


if __name__ == "__main__":
    main()

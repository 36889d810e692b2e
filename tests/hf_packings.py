"""Weights packed as GPTQ, AWQ, compressed-tensors and bitsandbytes write them, and their values."""

import json

import numpy as np
import packers
from weightfiles import model_files, write_safetensors

from mlx_probe.checkpoint import open_checkpoint

GOLDEN = packers.golden()
STATE = "m.weight.quant_state.bitsandbytes__nf4"


def opened(path, tensors, config):
    """Weights of a file. ``config`` is config.json's quantization_config; what it has under
    "__metadata__" are the file's own metadata, under "__config__" the rest of config.json."""
    quantization = {key: value for key, value in config.items() if not key.startswith("__")}
    config_path = path / "config.json"
    whole = config.get("__config__", {}) | {"quantization_config": quantization}
    config_path.write_text(json.dumps(whole))
    metadata = config.get("__metadata__")
    file = write_safetensors(path / "model.safetensors", tensors, metadata=metadata)
    return open_checkpoint(model_files(file, config=config_path)).weights()


def only(path, tensors, config):
    (weight,) = opened(path, tensors, config)
    assert weight.problem is None
    return weight


def affine(rng, rows, cols, bits, group):
    codes = rng.integers(0, 1 << bits, (rows, cols))
    zeros = rng.integers(0, 1 << bits, (rows, cols // group))
    scales = rng.uniform(0.5, 1, zeros.shape).astype(np.float16)
    zero, scale = (np.repeat(part, group, axis=1) for part in (zeros, scales.astype(np.float32)))
    return codes, zeros, scales, (codes - zero).astype(np.float32) * scale


def named(pieces, module="m"):
    return {f"{module}.{name}": piece for name, piece in pieces.items()}


def gptq_case(rng, rows, cols, bits=4, group=64):
    codes, zeros, scales, values = affine(rng, rows, cols, bits, group)
    config = {"quant_method": "gptq", "desc_act": False}
    return named(packers.gptq(codes, zeros, scales, bits)), config, values


def awq_case(rng, rows, cols):
    codes, zeros, scales, values = affine(rng, rows, cols, 4, 64)
    return named(packers.awq(codes, zeros, scales)), {}, values


def gemv_case(rng, rows, cols):
    codes, zeros, scales, values = affine(rng, rows, cols, 4, 64)
    config = {"quant_method": "awq", "version": "gemv", "group_size": 64}
    return named(packers.awq_gemv(codes, zeros, scales)), config, values


def compressed_case(rng, rows, cols, bits=4, group=64):
    codes, zeros, scales, values = affine(rng, rows, cols, bits, group)
    pieces = packers.compressed(codes, zeros, scales, bits)
    return named(pieces), {"quant_method": "compressed-tensors"}, values


def nf4_case(rng, rows, cols, block=64, **state):
    codes = rng.integers(0, 16, (rows, cols))
    table = np.sort(rng.uniform(-1, 1, 16)).astype(np.float32)
    absmax = rng.uniform(0.5, 1, -(-codes.size // block)).astype(np.float32)
    text = json.dumps({"blocksize": block, "shape": [rows, cols], "quant_type": "nf4"} | state)
    tensors = {
        "m.weight": (packers.nibbles(codes), "U8"),
        "m.weight.absmax": (absmax, "F32"),
        "m.weight.quant_map": (table, "F32"),
        STATE: (np.frombuffer(text.encode(), np.uint8), "U8"),
    }
    flat = np.arange(codes.size).reshape(codes.shape)
    return tensors, {}, table[codes] * absmax[flat // block]


def int8_case(rng, rows, cols):
    codes = rng.integers(-127, 128, (rows, cols)).astype(np.int8)
    scales = rng.uniform(0.5, 1, rows).astype(np.float32)
    values = codes * scales[:, None] * np.float32(7.874015718698502e-3)
    return {"m.weight": (codes, "I8"), "m.SCB": (scales, "F32")}, {}, values


def hqq_case(rng, rows, cols, bits=4, axis=1, group=64):
    height = rows * cols // group if axis else group
    codes = rng.integers(0, 1 << bits, (height, rows * cols // height))
    scales, zeros = rng.uniform(0.5, 1, (2, rows * cols // group)).astype(np.float16)
    lines = (slice(None), None) if axis else (None, slice(None))
    values = (codes.astype(np.float32) - zeros[lines].astype(np.float32)) * scales[lines]
    pieces = packers.hqq(codes, zeros[lines], scales[lines], bits, axis, (rows, cols), group)
    return named(pieces), {"quant_method": "hqq"}, values.reshape(rows, cols)


def exl2_case(rng, rows, cols):
    groups = [(5, 32), (3, cols - 32)]
    codes = [rng.integers(0, 1 << bits, (inputs, rows)) for bits, inputs in groups]
    scales = rng.integers(1, 17, (2, rows))
    # Powers of two: float16 loses nothing.
    largest, places = np.float16([0.5, 0.25]), rng.permutation(cols)
    lines = [
        (part - (1 << (bits - 1))) * (steps * steps * np.float32(top) / 256)
        for (bits, _), part, steps, top in zip(groups, codes, scales, largest, strict=True)
    ]
    pieces = packers.exl2(groups, codes, scales, largest, places)
    return named(pieces), {"quant_method": "exl2"}, np.concatenate(lines)[places].T.astype("<f4")


def bitnet_case(rng, rows, cols):
    codes = rng.integers(0, 3, (rows, cols)).astype(np.uint8)
    quarters = codes.reshape(4, rows // 4, cols)
    tensors = {
        "m.weight": (sum(part << 2 * i for i, part in enumerate(quarters)), "U8"),
        "m.weight_scale": (np.float32([0.75]), "F32"),
    }
    config = {"quant_method": "bitnet", "linear_class": "autobitlinear"}
    return tensors, config, (codes - np.float32(1)) * np.float32(0.75)


def mxfp6_case(rng, rows, cols):
    codes = rng.integers(0, 64, (rows, cols))
    scales = rng.integers(120, 130, (rows, cols // 32)).astype(np.uint8)
    magnitudes = [i / 8 for i in range(8)] + [
        (1 + i / 8) * 2**e for e in range(3) for i in range(8)
    ]
    table = np.float32(magnitudes + [-value for value in magnitudes])
    packed = packers.pack_rows(codes, 6).view(np.uint8)
    tensors = {"m.weight_packed": (packed, "U8"), "m.weight_scale": (scales, "U8")}
    config = {"quant_method": "compressed-tensors", "format": "mxfp6-pack-quantized"}
    factors = np.exp2(scales.astype(np.float32) - 127)
    return tensors, config, table[codes] * np.repeat(factors, 32, axis=1)


def nvfp4_case(rng, rows, cols):
    codes = rng.integers(0, 16, (rows, cols))
    # E4M3 from 1 to 1.875.
    scales = rng.integers(56, 64, (rows, cols // 16)).astype(np.uint8)
    magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    table = np.float32(magnitudes + [-value for value in magnitudes])
    tensors = {
        "m.weight": (packers.pack_rows(codes, 4).view(np.uint8), "U8"),
        "m.weight_scale": (scales, "F8_E4M3"),
        "m.weight_scale_2": (np.array(0.25, "<f4"), "F32"),
    }
    config = {"quant_method": "modelopt", "quant_algo": "NVFP4"}
    factors = (1 + (scales - 56) / 8).astype(np.float32) * np.float32(0.25)
    return tensors, config, table[codes] * np.repeat(factors, 16, axis=1)


CASES = {
    **{f"gptq {bits}": (gptq_case, {"bits": bits}) for bits in (2, 3, 4, 8)},
    "awq": (awq_case, {}),
    "awq gemv": (gemv_case, {}),
    **{f"compressed_tensors {bits}": (compressed_case, {"bits": bits}) for bits in (3, 4)},
    "compressed_tensors mxfp6": (mxfp6_case, {}),
    "modelopt nvfp4": (nvfp4_case, {}),
    **{
        f"hqq {bits} {axis}": (hqq_case, {"bits": bits, "axis": axis})
        for bits in (4, 3)
        for axis in (0, 1)
    },
    "exl2": (exl2_case, {}),
    "bitnet": (bitnet_case, {}),
    "bitsandbytes nf4": (nf4_case, {}),
    "bitsandbytes int8": (int8_case, {}),
}

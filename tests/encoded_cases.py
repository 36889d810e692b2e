"""Packed weights of random words, for decoders on devices: scales are NaN and infinite too.

Each case makes the tensors and the settings of one rows x cols weight. Rows must be a multiple of
32, columns of 256.
"""

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from hf_packings import named, opened
from weightfiles import model_files, write_gguf

from mlx_probe.checkpoint import open_checkpoint

WORDS = {"I32": "<i4", "U32": "<u4", "I64": "<i8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def words(rng, dtype, *shape):
    """Random bits of a type; "U8" and all 8-bit floats are bytes."""
    kind = np.dtype(WORDS.get(dtype, "u1"))
    data = rng.integers(0, 256, (*shape, kind.itemsize), np.uint8)
    return data.view(kind).reshape(shape), dtype


def gptq(rng, rows, cols, bits=4, group=32, scale="F16", order=None):
    groups = -(-cols // group)
    pieces = {
        "qweight": words(rng, "I32", cols * bits // 32, rows),
        "qzeros": words(rng, "I32", groups, -(-rows * bits // 32)),
        "scales": words(rng, scale, groups, rows),
    }
    if order:
        pieces["g_idx"] = rng.permutation(cols) * groups // cols, order
        pieces["g_idx"] = pieces["g_idx"][0].astype(WORDS[order]), order
    settings = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": bool(order)}
    return named(pieces), settings


def awq(rng, rows, cols, bits=4, group=64, **settings):
    pieces = {
        "qweight": words(rng, "I32", cols, rows * bits // 32),
        "qzeros": words(rng, "I32", cols // group, rows * bits // 32),
        "scales": words(rng, "F16", cols // group, rows),
    }
    return named(pieces), {"quant_method": "awq", "bits": bits, "group_size": group} | settings


def gemv(rng, rows, cols, group=64):
    width = {64: 2, 32: 4}.get(group, 1)
    width *= -(-cols // (group * 8 * width))
    pieces = {
        "qweight": words(rng, "I32", rows, cols // 8),
        "qzeros": words(rng, "I32", rows, width),
        "scales": words(rng, "F16", rows, width * 8),
    }
    return named(pieces), {"quant_method": "awq", "version": "gemv", "group_size": group}


def mlx(rng, rows, cols, mode="affine", bits=4, group=64, scale="F16"):
    pieces = {
        "weight": words(rng, "U32", rows, cols * bits // 32),
        "scales": words(rng, scale, rows, cols // group),
    }
    if mode == "affine":
        pieces["biases"] = words(rng, scale, rows, cols // group)
    return named(pieces), {"mode": mode, "bits": bits, "group_size": group}


def gpt_oss(rng, rows, cols):
    groups = cols // 32
    pieces = {"w_blocks": words(rng, "U8", rows, groups, 16)}
    return named(pieces | {"w_scales": words(rng, "U8", rows, groups)}), {"quant_method": "mxfp4"}


def fp8(rng, rows, cols, dtype="F8_E4M3", block=None, scale="F32", shape=None):
    grid = shape or (1,)
    settings = {"quant_method": "fp8"}
    if block:
        grid = -(-rows // block[0]), -(-cols // block[1])
        settings["weight_block_size"] = list(block)
    elif shape == "rows":
        grid = (rows, 1)
    pieces = {"weight": words(rng, dtype, rows, cols), "weight_scale": words(rng, scale, *grid)}
    return named(pieces), settings


def compressed(rng, rows, cols, bits=4, group=128, scale="BF16"):
    pieces = {
        "weight_packed": words(rng, "I32", rows, -(-cols * bits // 32)),
        "weight_scale": words(rng, scale, rows, cols // group if group else 1),
        "weight_shape": (np.array([rows, cols], "<i8"), "I64"),
    }
    weights = {"num_bits": bits, "type": "int"}
    return named(pieces), {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": weights}},
    }


def nvfp4(rng, rows, cols, writer="compressed-tensors"):
    pieces = {"weight_scale": words(rng, "F8_E4M3", rows, cols // 16)}
    codes, whole = words(rng, "U8", rows, cols // 2), (np.float32([37.5]), "F32")
    if writer == "modelopt":
        pieces |= {"weight": codes, "weight_scale_2": whole}
        return named(pieces), {"quant_method": "modelopt", "quant_algo": "NVFP4"}
    pieces |= {"weight_packed": codes, "weight_global_scale": whole}
    return named(pieces), {"quant_method": writer, "format": "nvfp4-pack-quantized"}


def int8(rng, rows, cols):
    pieces = {"weight": words(rng, "I8", rows, cols), "weight_scale": words(rng, "F32", rows, 1)}
    return named(pieces), {"quant_method": "compressed-tensors"}


CASES = {
    **{f"gptq {bits}": (gptq, {"bits": bits}) for bits in (2, 3, 4, 5, 8)},
    "gptq odd groups": (gptq, {"group": 96, "scale": "BF16"}),
    "gptq ordered": (gptq, {"order": "I32"}),
    "gptq ordered 3": (gptq, {"bits": 3, "order": "I64", "scale": "F32"}),
    "awq": (awq, {}),
    "awq 5": (
        awq,
        {"bits": 5, "quant_method": "auto-round", "packing_format": "auto_round:auto_awq"},
    ),
    "awq gemv": (gemv, {}),
    "awq gemv 128": (gemv, {"group": 128}),
    **{f"mlx {bits}": (mlx, {"bits": bits}) for bits in range(1, 9)},
    "mlx BF16": (mlx, {"scale": "BF16", "group": 32}),
    "mlx F32": (mlx, {"scale": "F32", "group": 128}),
    "mlx mxfp4": (mlx, {"mode": "mxfp4", "group": 32, "scale": "U8"}),
    "mlx mxfp8": (mlx, {"mode": "mxfp8", "group": 32, "bits": 8, "scale": "U8"}),
    "mlx nvfp4": (mlx, {"mode": "nvfp4", "group": 16, "scale": "F8_E4M3"}),
    "gpt-oss": (gpt_oss, {}),
    "fp8": (fp8, {}),
    "fp8 E5M2": (fp8, {"dtype": "F8_E5M2", "scale": "BF16"}),
    "fp8 rows": (fp8, {"shape": "rows"}),
    "fp8 blocks": (fp8, {"block": (128, 128)}),
    "fp8 odd blocks": (fp8, {"block": (96, 80), "scale": "F8_E8M0"}),
    **{f"compressed {bits}": (compressed, {"bits": bits}) for bits in (2, 3, 4, 8)},
    "compressed rows": (compressed, {"group": None, "scale": "F32"}),
    "compressed nvfp4": (nvfp4, {}),
    "compressed int8": (int8, {}),
    "modelopt nvfp4": (nvfp4, {"writer": "modelopt"}),
}
GGML = (
    *("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
    *("IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4"),
)


def blocks(rng, kind, *shape):
    """Random blocks of a type of ggml, with what `write_gguf` needs to know."""
    *lines, cols = shape
    elements, nbytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return rng.integers(0, 256, (*lines, cols // elements * nbytes), np.uint8), kind


def encoded(path, rng, case, rows, cols):
    """One weight of a case of `CASES` or a type of `GGML`."""
    if case in GGML:
        file = write_gguf(path / "m.gguf", {"blk.0.attn_q.weight": blocks(rng, case, rows, cols)})
        (weight,) = open_checkpoint(model_files(file)).weights()
    else:
        make, options = CASES[case]
        (weight,) = opened(path, *make(rng, rows, cols, **options))
    assert weight.problem is None
    assert weight.shape == (rows, cols)
    return weight

"""Packed weights of random words, for decoders on devices: scales are NaN and infinite too.

Each case makes the tensors and the settings of one rows x cols weight. Rows must be a multiple of
32, columns of 256.
"""

import json

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from hf_packings import named
from weightfiles import model_files, write_gguf, write_safetensors

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
    pieces = {"weight_blocks": words(rng, "U8", rows, groups, 16)}
    return named(pieces | {"weight_scales": words(rng, "U8", rows, groups)}), {
        "quant_method": "mxfp4"
    }


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


def compressed(rng, rows, cols, bits=4, group=128, scale="BF16", zeros=False):
    pieces = {
        "weight_packed": words(rng, "I32", rows, -(-cols * bits // 32)),
        "weight_scale": words(rng, scale, rows, cols // group if group else 1),
        "weight_shape": (np.array([rows, cols], "<i8"), "I64"),
    }
    if zeros:
        height, groups = -(-rows * bits // 32), cols // group
        pieces["weight_zero_point"] = words(rng, "I32", height, groups)
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


def nf4(rng, rows, cols, nested=0, kind="nf4"):
    count = rows * cols // 64
    state = {"blocksize": 64, "shape": [rows, cols], "quant_type": kind}
    pieces = {"": words(rng, "U8", rows * cols // 2, 1), ".quant_map": words(rng, "F32", 16)}
    pieces[".absmax"] = words(rng, "U8" if nested else "F32", count)
    if nested:
        state |= {"nested_blocksize": nested, "nested_offset": 0.7}
        pieces[".nested_absmax"] = words(rng, "F32", -(-count // nested))
        pieces[".nested_quant_map"] = words(rng, "F32", 256)
    text = np.frombuffer(json.dumps(state).encode(), np.uint8)
    pieces[f".quant_state.bitsandbytes__{kind}"] = text, "U8"
    return {f"m.weight{end}": piece for end, piece in pieces.items()}, {}


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
    "compressed zeros": (compressed, {"zeros": True}),
    "compressed zeros 3": (compressed, {"zeros": True, "bits": 3, "group": 32}),
    "compressed rows": (compressed, {"group": None, "scale": "F32"}),
    "compressed nvfp4": (nvfp4, {}),
    "compressed int8": (int8, {}),
    "nf4": (nf4, {}),
    "fp4 nested": (nf4, {"nested": 256, "kind": "fp4"}),
    "modelopt nvfp4": (nvfp4, {"writer": "modelopt"}),
}
GGML = (
    *("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
    *("IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4"),
)


# Where a block has numbers in float16, by type.
HALVES = {
    **dict.fromkeys(("Q4_0", "Q5_0", "Q8_0", "IQ4_NL", "IQ4_XS"), (0,)),
    **dict.fromkeys(("Q4_1", "Q5_1", "Q4_K", "Q5_K"), (0, 2)),
    **{"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,), "TQ1_0": (52,), "TQ2_0": (64,)},
}
# Pieces of numbers that are not called scales.
NUMBERS = ("biases", "absmax", "quant_map", "nested_absmax", "nested_quant_map")
# Bits to keep and bits to set in the words of scales, so that they differ by less than 32 times.
TAME = {"F16": (0x07FF, 0x3000), "BF16": (0x007F, 0x3D00), "F32": (0x007FFFFF, 0x3D000000)}


def blocks(rng, kind, *shape, tame=False):
    """Random blocks of a type of ggml, with what `write_gguf` needs to know."""
    *lines, cols = shape
    elements, nbytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    stored = rng.integers(0, 256, (*lines, cols // elements, nbytes), np.uint8)
    if tame:
        for first in HALVES.get(kind, ()):
            stored[..., first + 1] = stored[..., first + 1] & 0x07 | 0x30
        if kind == "MXFP4":
            stored[..., 0] = stored[..., 0] & 0x07 | 0x78
    return stored.reshape(*lines, -1), kind


def tamed(name, stored, dtype):
    """Scales of about one size; no element of 8 bits that is NaN or infinite."""
    if name.rpartition(".")[2] in NUMBERS or "scale" in name.rpartition(".")[2]:
        keep, fixed = TAME.get(dtype, (0x07, 0x70))
        bits = stored.view(f"<u{stored.itemsize}")
        return (bits & bits.dtype.type(keep) | bits.dtype.type(fixed)).view(stored.dtype), dtype
    if dtype in ("F8_E4M3", "F8_E5M2") or (name.endswith("m.weight") and dtype == "U32"):
        return (stored.view(np.uint8) & np.uint8(0xBF)).view(stored.dtype), dtype
    return stored, dtype


def encoded(path, rng, case, rows, cols, tame=False, count=1, config=None, module="m", stack=0):
    """Weights of a case of `CASES` or a type of `GGML`.

    ``tame`` numbers have spectra. ``count`` weights are in one checkpoint, or ``stack`` in one.
    ``config`` is the rest of config.json, and ``module`` the name of the only weight.
    """
    path.mkdir(exist_ok=True)
    if case in GGML:
        shape = (stack, rows, cols) if stack else (rows, cols)
        name = "blk.{}.ffn_up_exps.weight" if stack else "blk.{}.ffn_up.weight"
        tensors = {name.format(i): blocks(rng, case, *shape, tame=tame) for i in range(count)}
        checkpoint = open_checkpoint(model_files(write_gguf(path / "m.gguf", tensors)))
    else:
        make, options = CASES[case]
        tensors = {}
        for i in range(count):
            made, settings = make(rng, rows, cols, **options)
            if stack:
                others = [make(rng, rows, cols, **options)[0] for _ in range(stack - 1)]
                made = {name: _stacked(name, [made, *others]) for name in made}
            for name, piece in made.items():
                renamed = name.replace(
                    "m.", f"{module}." if count == 1 else f"layers.{i}.{module}."
                )
                tensors[renamed] = tamed(name, *piece) if tame else piece
        config = {"quantization_config": settings, **(config or {})}
        (path / "config.json").write_text(json.dumps(config))
        file = write_safetensors(path / "model.safetensors", tensors)
        checkpoint = open_checkpoint(model_files(file, config=path / "config.json"))
    weights = checkpoint.weights()
    assert [weight.problem for weight in weights] == [None] * len(weights)
    return checkpoint


def _stacked(name, pieces):
    stored = np.stack([each[name][0] for each in pieces])
    if name.endswith("weight_shape"):
        stored = np.array([len(stored), *stored[0]], stored.dtype)
    return stored, pieces[0][name][1]

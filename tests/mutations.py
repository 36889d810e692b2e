"""Packed checkpoints, and seeded mutations of them: what an unknown variant would look like.

A mutation renames, drops, adds or resizes a piece, stores it as another type, or changes what
config.json declares. A reader may give the numbers of the unchanged checkpoint, or a reason.
"""

import numpy as np
import packers
from make_packings import fixtures

from mlx_probe.core.dtypes import DTYPES, decode

INTACT = "intact"
# Names of pieces in any packing, for renamed and added ones.
ENDS = (
    *("weight", "qweight", "weight_packed", "weight.absmax", "weight._data", "W_q", "codes"),
    *("scale", "scales", "weight_scale", "weight_scale_2", "weight_scale_inv", "scale_weight"),
    *("SCB", "weight_global_scale", "weight._scale", "weight._shift", "zero", "zeros", "biases"),
    *("qzeros", "weight_zero_point", "g_idx", "weight_g_idx", "perm", "codebooks", "suh", "SU"),
    *("weight_shape", "weight_qdata", "_weight_qdata", "_weight_scale", "pre_quant_scale", "x"),
    *("comfy_quant", "qscales", "magnitude", "W", "weight_scales", "act_order", "weight_x"),
)
METHODS = (
    *("gptq", "awq", "bitsandbytes", "compressed-tensors", "fp8", "mxfp4", "torchao", "quanto"),
    *("modelopt", "auto-round", "hqq", "aqlm", "quark", "bitnet", "not-known", 8, None),
)
FORMATS = (
    *("gptq", "gptq_v2", "gemm", "gemv", "marlin", "exllama", "pack-quantized", "int-quantized"),
    *("nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized", "float-quantized"),
    *("auto_round", "auto_round:auto_gptq", "auto_round:auto_awq", "auto_round:gptqmodel"),
    *("affine", "mxfp4", "nvfp4", "mxfp8", "NVFP4", "FP8", "not-known"),
)
FORMAT_KEYS = (
    *("format", "checkpoint_format", "version", "packing_format", "mode", "quant_algo", "fmt"),
    *("quant_type", "data_type", "quantization_mode", "linear_class", "backend", "weights"),
)
NUMBER_KEYS = (
    "bits",
    "group_size",
    "w_bit",
    "q_group_size",
    "weight_block_size",
    "sym",
    "desc_act",
)


def mlx_cases(rng):
    """MLX's modes; the first has the shapes of two settings."""
    words = rng.integers(0, 1 << 32, (16, 16), np.uint32)
    scales = rng.integers(1, 9, (16, 2)).astype(np.float16) / 8
    biases = -scales
    yield (
        "mlx: affine",
        {"weight": (words, "U32"), "scales": (scales, "F16"), "biases": (biases, "F16")},
        {"bits": 4, "group_size": 64, "mode": "affine"},
    )
    for mode, group, bits in (("mxfp4", 32, 4), ("nvfp4", 16, 4), ("mxfp8", 32, 8)):
        scales = rng.integers(120, 126, (16, 512 // bits // group)).astype(np.uint8)
        settings = {"mode": mode, "group_size": group, "bits": bits}
        yield (
            f"mlx: {mode}",
            {"weight": (words & 0x7E7E7E7E, "U32"), "scales": (scales, "U8")},
            settings,
        )


def float8_cases(rng):
    """Eight-bit floats, which E4M3 and E5M2 can both store, with each kind of scale."""
    exact = np.ldexp(rng.choice([-1.75, -1.0, 1.25, 1.5], (96, 80)), rng.integers(-4, 4, (96, 80)))
    codes = stored(exact, "F8_E4M3"), "F8_E4M3"
    scale = rng.integers(1, 9, (96, 5)).astype(np.float32) / 8
    for name, end, values, settings in (
        ("tensor", "weight_scale", scale[:1, 0], {"quant_method": "modelopt", "quant_algo": "FP8"}),
        ("rows", "weight_scale", scale[:, :1], {"quant_method": "fbgemm_fp8"}),
        ("no config", "weight_scale", scale[:, :1], {}),
        (
            "blocks",
            "weight_scale_inv",
            scale[:6],
            {"quant_method": "fp8", "weight_block_size": [16, 16], "fmt": "e4m3"},
        ),
    ):
        yield f"fp8: {name}", {"weight": codes, end: (values, "F32")}, settings


def mxfp4_cases(rng):
    """gpt-oss: pieces without a module of their own."""
    blocks = rng.integers(0, 256, (4, 8, 3, 16), np.uint8), "U8"
    scales = rng.integers(120, 126, (4, 8, 3), np.uint8), "U8"
    yield "mxfp4: stack", {"_blocks": blocks, "_scales": scales}, {"quant_method": "mxfp4"}


def cases():
    """Name to tensors and settings (see `hf_packings.opened`) of every packing but ggml."""
    rng = np.random.default_rng(5)
    made = {}
    for name, pieces, settings in (*mlx_cases(rng), *float8_cases(rng), *mxfp4_cases(rng)):
        named = {f"m{end if end[0] == '_' else '.' + end}": p for end, p in pieces.items()}
        made[name] = named, settings
    for name, (tensors, settings, _) in {**packers.golden(), **fixtures()}.items():
        made[name] = tensors, settings
    for name, (tensors, settings) in made.items():
        if not settings.get("quant_method") and "__metadata__" not in settings:
            # A model has more than one weight: this one keeps its pieces.
            made[name] = {**tensors, **intact(tensors)}, settings
    return made


def intact(tensors):
    """The same weight once more, in a module that no mutation changes."""
    return {f"{INTACT}.{name}": piece for name, piece in tensors.items()}


def pieces(tensors):
    """Names of the pieces that mutations change."""
    return [name for name in tensors if not name.startswith(f"{INTACT}.")]


def module(tensors):
    """The module of the weight, from its pieces' names."""
    first, last = min(pieces(tensors)), max(pieces(tensors))
    differ = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return first[:differ].rpartition(".")[0].removesuffix(".weight") or "m"


def stored(values, dtype):
    """Numbers as words of a float type; None if it cannot hold them all."""
    if dtype == "BF16":
        words = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    elif dtype.startswith("F8"):
        table = decode(np.arange(256, dtype=np.uint8), dtype).astype(np.float64)
        words = np.abs(np.nan_to_num(table, nan=1e9) - values[..., None]).argmin(-1).astype("u1")
    else:
        with np.errstate(over="ignore"):
            words = values.astype(DTYPES[dtype].storage)
    back = decode(words, dtype).astype(np.float64)
    return words if np.array_equal(back, values.astype(np.float64)) else None


def rename(rng, tensors, settings):
    name, owner = str(rng.choice(pieces(tensors))), module(tensors)
    end = name[len(owner) :]
    new = [f"{owner}.{rng.choice(ENDS)}", f"{name}_x", f"other{end}", f"{name}.x", f"{name}s"]
    new = new[rng.integers(len(new))]
    if new in tensors:
        return None
    return {new if key == name else key: piece for key, piece in tensors.items()}, settings


def drop(rng, tensors, settings):
    name = str(rng.choice(pieces(tensors)))
    return {key: piece for key, piece in tensors.items() if key != name}, settings


def add(rng, tensors, settings):
    name = f"{module(tensors)}.{rng.choice(ENDS)}"
    if name in tensors:
        return None
    like = tensors[str(rng.choice(pieces(tensors)))][0].shape
    shape = [(1,), (32,), like, like[:1]][rng.integers(4)]
    dtype = str(rng.choice(["F32", "F16", "U8", "I32", "I8", "F8_E4M3"]))
    words = np.ones(shape, DTYPES[dtype].storage)
    return {**tensors, name: (words, dtype)}, settings


def resize(rng, tensors, settings):
    name = str(rng.choice([key for key in pieces(tensors) if tensors[key][0].ndim]))
    array, dtype = tensors[name]
    axis = int(rng.integers(array.ndim))
    extent = array.shape[axis]
    new = int(rng.choice([extent - 1, extent + 1, extent // 2, extent * 2]))
    return {**tensors, name: (np.take(array, np.arange(new) % extent, axis), dtype)}, settings


def retype(rng, tensors, settings):
    """The same numbers, or the same bytes with or without a sign, as another type."""
    name = str(rng.choice(pieces(tensors)))
    array, dtype = tensors[name]
    new = str(rng.choice([key for key in DTYPES if key != dtype]))
    if dtype not in DTYPES:
        return None
    kinds = DTYPES[dtype].kind, DTYPES[new].kind
    if kinds == ("float", "float"):
        words = stored(decode(array, dtype).astype(np.float64), new)
    elif kinds == ("int", "int") and DTYPES[dtype].itemsize == DTYPES[new].itemsize:
        words = array.view(DTYPES[new].storage)
    elif kinds == ("int", "int"):
        words = array.astype(DTYPES[new].storage)
    elif kinds == ("int", "float"):
        words = stored(array.astype(np.float64), new)
    else:
        words = None
    return None if words is None else ({**tensors, name: (words, new)}, settings)


def declare(rng, tensors, settings):
    changed = dict(settings)
    kind = rng.integers(4)
    own = [key for key in settings if not key.startswith("__")]
    if kind == 0:
        changed["quant_method"] = METHODS[rng.integers(len(METHODS))]
    elif kind == 1:
        key = str(rng.choice([key for key in FORMAT_KEYS if key in own] or FORMAT_KEYS))
        changed[key] = str(rng.choice(FORMATS))
    elif kind == 2:
        key = str(rng.choice([key for key in NUMBER_KEYS if key in own] or NUMBER_KEYS))
        changed[key] = [2, 3, 8, 16, 64, True, False, [8, 8]][rng.integers(8)]
    elif own:
        del changed[str(rng.choice(own))]
    return tensors, changed


MUTATIONS = (rename, drop, add, resize, retype, declare)

"""Packed checkpoints, and seeded mutations of them: what an unknown variant would look like.

A mutation renames, drops, adds or resizes a piece, stores it as another type, or changes what
config.json declares. A reader may give the numbers of the unchanged checkpoint, or a reason.
"""

import re

import numpy as np
import packers
from hf_packings import exl2_case
from make_packings import fixtures
from matrices import store

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
NUMBERS = (2, 3, 8, 16, 64, True, False, [8, 8])
ABSENT = "absent"
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
    # exllamav2 makes no fixture: it needs a GPU.
    tensors, settings, _ = exl2_case(rng, 64, 96)
    made["exl2"] = tensors, settings
    factors = {"left": (64, 4), "right": (4, 96)}
    made["lowrank"] = (
        {
            f"m.lowrank_{side}": (store(rng.standard_normal(shape), "BF16")[0], "BF16")
            for side, shape in factors.items()
        },
        {},
    )
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
        with np.errstate(over="ignore", invalid="ignore"):
            words = values.astype(DTYPES[dtype].storage)
    back = decode(words, dtype).astype(np.float64)
    return words if np.array_equal(back, values.astype(np.float64)) else None


def renames(tensors, settings):
    owner = module(tensors)
    for name in pieces(tensors):
        end = name[len(owner) :]
        for new in (*(f"{owner}.{e}" for e in ENDS), f"{name}_x", f"other{end}", f"{name}.x"):
            if new not in tensors:
                yield name, new


def rename(tensors, settings, name, new):
    return {new if key == name else key: piece for key, piece in tensors.items()}, settings


def drops(tensors, settings):
    return ((name,) for name in pieces(tensors))


def drop(tensors, settings, name):
    return {key: piece for key, piece in tensors.items() if key != name}, settings


def adds(tensors, settings):
    shapes = dict.fromkeys([(1,), *(tensors[name][0].shape for name in pieces(tensors)[:2])])
    for name in (f"{module(tensors)}.{end}" for end in ENDS):
        if name not in tensors:
            yield from ((name, s, dtype) for s in shapes for dtype in ("F32", "U8"))


def add(tensors, settings, name, shape, dtype):
    return {**tensors, name: (np.ones(shape, DTYPES[dtype].storage), dtype)}, settings


def resizes(tensors, settings):
    for name in pieces(tensors):
        for axis, extent in enumerate(tensors[name][0].shape):
            yield from (
                (name, axis, new)
                for new in (extent - 1, extent + 1, extent // 2, extent * 2)
                if new != extent
            )


def resize(tensors, settings, name, axis, extent):
    array, dtype = tensors[name]
    where = np.arange(extent) % array.shape[axis]
    return {**tensors, name: (np.take(array, where, axis), dtype)}, settings


def retypes(tensors, settings):
    for name in pieces(tensors):
        if tensors[name][1] in DTYPES:
            yield from ((name, dtype) for dtype in DTYPES if dtype != tensors[name][1])


def retype(tensors, settings, name, new):
    """The same numbers as another type; integers of one width are the same bytes."""
    array, dtype = tensors[name]
    kinds = DTYPES[dtype].kind, DTYPES[new].kind
    if kinds == ("int", "int"):
        same = DTYPES[dtype].itemsize == DTYPES[new].itemsize
        words = array.view(DTYPES[new].storage) if same else array.astype(DTYPES[new].storage)
    else:
        words = (
            stored(decode(array, dtype).astype(np.float64), new) if "bool" not in kinds else None
        )
    return None if words is None else ({**tensors, name: (words, new)}, settings)


def declarations(tensors, settings):
    own = [key for key in settings if not key.startswith("__")]
    yield from (("quant_method", method) for method in METHODS)
    for keys, values in ((FORMAT_KEYS, FORMATS), (NUMBER_KEYS, NUMBERS)):
        for key in [key for key in keys if key in own] or keys:
            yield from ((key, value) for value in values)
    yield from ((key, ABSENT) for key in own)


def declare(tensors, settings, key, value):
    others = {name: given for name, given in settings.items() if name != key}
    return tensors, others if value is ABSENT else {**others, key: value}


# Name to what it can do to a checkpoint, and the function that does it.
MUTATIONS = {
    "rename": (renames, rename),
    "drop": (drops, drop),
    "add": (adds, add),
    "resize": (resizes, resize),
    "retype": (retypes, retype),
    "declare": (declarations, declare),
}
# Another valid checkpoint is made by: case, mutation and its arguments, as a pattern. Nothing in
# the pieces contradicts, and the original packages read the changed checkpoint in the same way.
VALID = {
    "both versions of zero points are declared in the same way, and the first is the default": (
        r".*gptq.* declare (checkpoint|packing)_format (absent|gptq(_v2)?|auto_round\S*)"
    ),
    "bitlinear is transformers' default": r"bitnet.* declare linear_class absent",
    "nothing but the shape of BitNet's bytes shows the number of rows": (
        r"bitnet.* resize m\.weight 0 .*"
    ),
}


def changed(kind, case, arguments):
    """A mutated checkpoint; None if that is not possible."""
    return MUTATIONS[kind][1](*case, *arguments)


def is_valid(name, kind, arguments):
    """Whether a mutation makes another valid checkpoint."""
    text = " ".join(map(str, (name, kind, *arguments)))
    return any(re.fullmatch(pattern, text) for pattern in VALID.values())

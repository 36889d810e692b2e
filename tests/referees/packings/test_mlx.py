"""MLX's quantization modes against mlx.core.quantize and dequantize on the CPU stream."""

from functools import partial

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from referees.packings.cases import HALF_UNIT, Case, Made, judge

ROWS, COLS = 8, 384
NAME = "model.layers.0.mlp.up_proj"
STACK = "model.layers.3.mlp.switch_mlp.gate_proj"
DTYPES = {"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16}
# Group size and bits of the modes without biases.
FLOATS = {"mxfp4": (32, 4), "mxfp8": (32, 8), "nvfp4": (16, 4)}


def stored(array):
    """An MLX array as words, with the name of its type."""
    kinds = {mx.uint32: "U32", mx.uint8: "U8"} | {kind: name for name, kind in DTYPES.items()}
    words = array.view(mx.uint16) if array.dtype == mx.bfloat16 else array
    return np.array(words), kinds[array.dtype]


def matrix(*shape, dtype="F32"):
    values = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    return mx.array(values).astype(DTYPES[dtype])


def exact(pieces, **settings):
    """MLX's own values in float32, and how far one rounding of a product may take them."""
    scales = [
        part.astype(mx.float32) if part.dtype in DTYPES.values() else part for part in pieces[1:]
    ]
    values = np.array(mx.dequantize(pieces[0], *scales, **settings, dtype=mx.float32))
    if len(scales) == 1:
        return values, 0.0
    # A fused multiply-add rounds once, ours rounds the product too.
    group, bits = settings["group_size"], settings["bits"]
    largest = np.abs(np.array(scales[0])) * (2**bits - 1) + np.abs(np.array(scales[1]))
    return values, np.repeat(largest, group, axis=-1) * 2 * HALF_UNIT["F32"]


def quantized(
    shape=(ROWS, COLS), dtype="F32", name=NAME, tensor_scale=False, key="quantization", **settings
):
    with mx.stream(mx.cpu):
        weights = matrix(*shape, dtype=dtype)
        scale = mx.max(mx.abs(weights)).astype(mx.float32) if tensor_scale else None
        pieces = mx.quantize(weights, **settings, global_scale=scale)
        values, slack = exact(pieces, **settings, global_scale=scale)
    ends = ("weight", "scales", "biases")
    tensors = {f"{name}.{end}": stored(piece) for end, piece in zip(ends, pieces, strict=False)}
    if scale is not None:
        tensors[f"{name}.global_scale"] = stored(scale)
        # Where the tensor's scale is multiplied in is not the same in both.
        slack = np.abs(values) * 2**-22
    return Made(tensors, {f"{name}.weight": values}, {key: settings}, slack)


class Network(nn.Module):
    """What mlx-lm's models are made of, quantized by mlx.nn with settings for single modules."""

    def __init__(self):
        from mlx_lm.models.switch_layers import SwitchLinear

        super().__init__()
        self.embed_tokens = nn.Embedding(64, 128)
        self.o_proj = nn.Linear(128, 64, bias=False)
        self.down_proj = nn.Linear(128, 32, bias=True)
        self.up_proj = SwitchLinear(128, 32, 3, bias=False)
        self.gate = nn.Linear(128, 4, bias=False)


def network(**base):
    own = {"o_proj": {"group_size": 32, "bits": 8, "mode": "affine"}, "gate": False}
    own["down_proj"] = {"group_size": 32, "bits": 4, "mode": "mxfp4"}
    with mx.stream(mx.cpu):
        model = Network()
        nn.quantize(model, **base, class_predicate=lambda path, _: own.get(path, True))
        tensors, values, slacks = {}, {}, {}
        for path, module in model.leaf_modules().items():
            parts = dict(tree_flatten(module.parameters()))
            tensors |= {f"{path}.{end}": stored(part) for end, part in parts.items()}
            if "bias" in parts:
                values[f"{path}.bias"] = np.array(parts["bias"])
            if "scales" not in parts:
                values[f"{path}.weight"] = np.array(parts["weight"])
                continue
            pieces = [parts[end] for end in ("weight", "scales", "biases") if end in parts]
            settings = base if own.get(path, True) is True else own[path]
            values[f"{path}.weight"], slacks[path] = exact(pieces, **settings)
    slack = max(float(np.max(part)) for part in slacks.values())
    return Made(tensors, values, {"quantization": base | own}, slack)


def quantized_inputs(mode):
    """A layer that quantizes its inputs too: evaluated, it holds packed weights only."""
    group, bits = FLOATS[mode]
    with mx.stream(mx.cpu):
        model = nn.Sequential(nn.Linear(128, 64, bias=False))
        nn.quantize(model, mode=mode, quantize_input=True)
        parts = dict(tree_flatten(model.eval().parameters()))
        settings = {"mode": mode, "group_size": group, "bits": bits}
        values, slack = exact([parts["layers.0.weight"], parts["layers.0.scales"]], **settings)
    tensors = {name: stored(part) for name, part in parts.items()}
    return Made(tensors, {"layers.0.weight": values}, {"quantization": settings}, slack)


CASES = [
    *(
        Case(
            f"affine {bits} bit, group {group}, {dtype}",
            partial(quantized, dtype=dtype, bits=bits, group_size=group, mode="affine"),
        )
        for bits in (1, 2, 3, 4, 5, 6, 8)
        for group in (32, 64, 128)
        for dtype in DTYPES
    ),
    *(
        Case(
            f"{mode} {what}",
            partial(quantized, shape, name=name, mode=mode, group_size=group, bits=bits),
        )
        for mode, (group, bits) in FLOATS.items()
        for what, shape, name in (("matrix", (ROWS, COLS), NAME), ("stack", (5, ROWS, COLS), STACK))
    ),
    Case(
        "nvfp4 with a scale of the tensor",
        partial(quantized, tensor_scale=True, mode="nvfp4", group_size=16, bits=4),
    ),
    *(
        Case(
            f"a stack of experts, {bits} bit",
            partial(
                quantized, (5, ROWS, COLS), name=STACK, bits=bits, group_size=64, mode="affine"
            ),
        )
        for bits in (2, 3, 4, 6)
    ),
    *(
        Case(
            f"modules with settings of their own, {bits} bit",
            partial(network, bits=bits, group_size=64, mode="affine"),
        )
        for bits in (3, 4)
    ),
    *(
        Case(f"inputs quantized too, {mode}", partial(quantized_inputs, mode))
        for mode in ("mxfp8", "nvfp4")
    ),
    Case(
        "settings under quantization_config",
        partial(quantized, key="quantization_config", bits=4, group_size=64, mode="affine"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_mlx(case, tmp_path, record_property):
    judge(case, tmp_path, record_property)

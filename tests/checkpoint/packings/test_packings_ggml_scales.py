"""GGUF's ``.scale`` beside a weight: llama.cpp multiplies by it, whatever the weight's type."""

import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from weightfiles import model_files, whole, write_gguf

from mlx_probe.checkpoint import open_checkpoint

WEIGHT = "blk.0.attn_q.weight"
NVFP4_BLOCK = 36


def opened(path, tensors, architecture="llama"):
    file = write_gguf(path / "m.gguf", tensors, architecture=architecture)
    return open_checkpoint(model_files(file)).weights()


def stored(rng, kind, shape):
    """Words of a matrix or stack, and the values that gguf reads there."""
    plain = rng.standard_normal(shape).astype(np.float32)
    if kind == "F32":
        return plain, plain
    number = GGMLQuantizationType[kind]
    if kind == "NVFP4":
        words = rng.integers(0, 126, (*shape[:-1], shape[-1] // 64 * NVFP4_BLOCK), np.uint8)
    else:
        words = quantize(plain, number)
    return words, dequantize(words, number)


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "TQ2_0", "NVFP4"])
def test_one_scale_is_multiplied(tmp_path, rng, kind):
    words, values = stored(rng, kind, (4, 1280))
    scale, inputs = np.array([0.03], "f4"), np.array([7.0], "f4")
    tensors = {WEIGHT: (words, kind)}
    tensors |= {"blk.0.attn_q.scale": (scale, "F32"), "blk.0.attn_q.input_scale": (inputs, "F32")}
    (weight,) = opened(tmp_path, tensors)
    assert weight.problem is None
    assert weight.parameter.detail.endswith("scaled")
    np.testing.assert_array_equal(whole(weight), values.astype("f4") * scale)


@pytest.mark.parametrize("kind", ["F32", "NVFP4"])
def test_each_expert_has_its_own(tmp_path, rng, kind):
    words, values = stored(rng, kind, (3, 4, 64))
    scales = np.array([0.5, 2, 3], "f4")
    name = "blk.0.ffn_up_exps"
    tensors = {f"{name}.weight": (words, kind), f"{name}.scale": (scales, "F32")}
    for weight, matrix, scale in zip(opened(tmp_path, tensors), values, scales, strict=True):
        np.testing.assert_array_equal(whole(weight), matrix * scale)


@pytest.mark.parametrize(
    ("scale", "kind"), [((4,), "F32"), ((0,), "F32"), ((1,), "F16"), ((1, 1), "F32")]
)
def test_other_scales_are_not_guessed(tmp_path, rng, scale, kind):
    words, _ = stored(rng, "Q8_0", (4, 64))
    array = np.ones(scale, {"F32": "f4", "F16": "f2"}[kind])
    tensors = {WEIGHT: (words, "Q8_0"), "blk.0.attn_q.scale": (array, kind)}
    weight = next(weight for weight in opened(tmp_path, tensors) if weight.name == WEIGHT)
    assert "blk.0.attn_q.scale" in weight.problem


def test_a_norm_with_a_scale_is_no_weight(tmp_path, rng):
    """Without a weight of that name a scale stays a row of its own."""
    ones = np.ones(8, "f4")
    names = [w.name for w in opened(tmp_path, {"blk.0.x.scale": (ones, "F32")})]
    assert names == ["blk.0.x.scale"]


@pytest.mark.parametrize("kind", ["F32", "Q8_0", "NVFP4"])
def test_the_parameters_of_gemma_4s_router_are_no_scales_of_weights(tmp_path, rng, kind):
    """A gain of the router's input, and a factor for each expert's contribution."""
    experts, values = stored(rng, kind, (3, 4, 64))
    router, rows = stored(rng, "F32", (3, 64))
    tensors = {
        "blk.0.ffn_down_exps.weight": (experts, kind),
        "blk.0.ffn_down_exps.scale": (np.full(3, 2, "f4"), "F32"),
        "blk.0.ffn_gate_inp.weight": (router, "F32"),
        "blk.0.ffn_gate_inp.scale": (np.full(64, 2, "f4"), "F32"),
    }
    weights = opened(tmp_path, tensors, "gemma4")
    gate = next(weight for weight in weights if weight.name == "blk.0.ffn_gate_inp.weight")
    np.testing.assert_array_equal(whole(gate), rows)
    down = [weight for weight in weights if weight.name == "blk.0.ffn_down_exps.weight"]
    if kind == "NVFP4":
        # Which of the two scales it is, the file does not say.
        assert all("NVFP4's scale, or one of the router" in weight.problem for weight in down)
    else:
        for weight, matrix in zip(down, values, strict=True):
            np.testing.assert_array_equal(whole(weight), matrix)

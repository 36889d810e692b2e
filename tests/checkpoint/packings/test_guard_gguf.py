"""GGUF declares no method; what lies beside a block-packed weight matters all the same."""

import json

import numpy as np
import pytest
from gguf import quants
from gguf.constants import GGMLQuantizationType
from weightfiles import model_files, write_gguf

from mlx_probe.checkpoint import open_checkpoint

NAME = "blk.0.attn_q.weight"
MATRIX = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)


def parameters(folder, tensors, quantization=None):
    path = write_gguf(folder / "model.gguf", tensors)
    config = folder / "config.json"
    config.write_text(json.dumps({"quantization_config": quantization} if quantization else {}))
    with open_checkpoint(model_files(path, config=config)) as checkpoint:
        return {parameter.name: parameter for parameter in checkpoint.parameters}


def blocks(kind="Q8_0"):
    return quants.quantize(MATRIX, GGMLQuantizationType[kind]), kind


@pytest.mark.parametrize("end", ["scale_2", "shift", "weight.x", "zero"])
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1"])
def test_a_tensor_beside_blocks_that_nobody_takes(tmp_path, kind, end):
    other = f"blk.0.attn_q.{end}"
    rows = parameters(tmp_path, {NAME: blocks(kind), other: (np.ones(1, np.float32), "F32")})
    assert rows[NAME].problem == (
        f"{NAME}: {other} lies beside it, and its effect on the values is not known"
    )
    assert rows[other].problem is not None


@pytest.mark.parametrize("end", ["bias", "lora_a", "input_scale"])
def test_what_changes_no_weight_may_lie_beside_blocks(tmp_path, end):
    others = {f"blk.0.attn_q.{end}": (np.ones(1, np.float32), "F32")}
    assert parameters(tmp_path, {NAME: blocks()} | others)[NAME].problem is None


def test_a_config_of_the_original_beside_a_gguf_says_nothing_about_it(tmp_path):
    """Repositories with GGUF files often keep the config.json of the FP8 model."""
    rows = parameters(tmp_path, {NAME: blocks()}, {"quant_method": "fp8"})
    assert rows[NAME].problem is None


@pytest.mark.parametrize("kind", ["I8", "I16", "I32", "I64"])
def test_integers_are_no_weights(tmp_path, kind):
    stored = np.ones((64, 64), {"I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}[kind])
    problem = parameters(tmp_path, {NAME: (stored, kind)})[NAME].problem
    assert problem == f"{kind} integers in place of weights: packed in a way not understood"

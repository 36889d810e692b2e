"""Fused matrices without parts are said at the start of a job."""

import json

import numpy as np
import pytest
from weightfiles import model_files, write_safetensors

from mlx_probe.analysis.unsplit import warn_of_unsplit
from mlx_probe.checkpoint import open_checkpoint

HEADS = {"num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 12}


def warnings(folder, model_type, names):
    arrays = {name: np.ones((24, 8), np.float32) for name in names}
    config = folder / "config.json"
    config.write_text(json.dumps({"model_type": model_type, **HEADS}))
    file = write_safetensors(folder / "model.safetensors", arrays)
    said = []
    with open_checkpoint(model_files(file, config=config)) as checkpoint:
        warn_of_unsplit(checkpoint.weights(), said.append)
    return said


@pytest.mark.parametrize(
    ("model_type", "names", "expected"),
    [
        ("phi3", ["model.layers.0.self_attn.qkv_proj.weight"], []),
        ("phi9", ["visual.blocks.0.attn.qkv.weight", "model.layers.0.self_attn.q_proj.weight"], []),
        (
            "phi9",
            ["model.layers.0.self_attn.qkv_proj.weight", "model.layers.0.mlp.gate_up_proj.weight"],
            [
                "2 fused matrices have no rows for the parts: this version has no layout for "
                "model type 'phi9'. The first: model.layers.0.self_attn.qkv_proj.weight"
            ],
        ),
        (
            "glm4",
            ["model.layers.0.self_attn.qkv_proj.weight", "model.layers.0.mlp.gate_up_proj.weight"],
            [
                "1 fused matrix has no rows for the parts: this version has no layout for "
                "model type 'glm4'. The first: model.layers.0.self_attn.qkv_proj.weight"
            ],
        ),
    ],
)
def test_fused_matrices_without_parts_are_said_once(tmp_path, model_type, names, expected):
    assert warnings(tmp_path, model_type, names) == expected

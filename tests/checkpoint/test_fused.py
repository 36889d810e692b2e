"""Fused matrices that are split and that are not, with the reason; stacks."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightfiles import model_files, whole, write_gguf, write_safetensors

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.checkpoint.fused import Part

HEADS, KV, DIM, HIDDEN, WIDTH = 6, 2, 8, 48, 80
GQA = {"num_attention_heads": HEADS, "num_key_value_heads": KV, "hidden_size": HIDDEN}
MHA = {"num_attention_heads": HEADS, "hidden_size": HIDDEN}
MLP = {"hidden_size": HIDDEN, "intermediate_size": WIDTH}
GLM4 = {"model_type": "glm4", **MLP}
PHI3 = "model.layers.0.self_attn.qkv_proj.weight"
CODEGEN = "transformer.h.0.attn.qkv_proj.weight"


def opened(path, name, array, config):
    (path / "config.json").write_text(json.dumps(config))
    file = write_safetensors(path / "model.safetensors", {name: array})
    return open_checkpoint(model_files(file, config=path / "config.json")).weights()


def test_conv1d_of_gpt2_is_cut_between_its_columns(tmp_path, rng):
    matrix = rng.standard_normal((HIDDEN, 3 * HIDDEN), np.float32)
    config = {"model_type": "gpt2", "n_head": HEADS, "n_embd": HIDDEN}
    _, *parts = opened(tmp_path, "transformer.h.0.attn.c_attn.weight", matrix, config)
    for part, values in zip(parts, np.split(matrix, 3, axis=1), strict=True):
        np.testing.assert_array_equal(whole(part), values)


@pytest.mark.parametrize(
    ("name", "shape", "config", "cut"),
    [
        ("model.layers.0.mlp.gate_up_proj.weight", (2 * WIDTH, HIDDEN), GLM4, np.s_[:WIDTH]),
        (
            "model.layers.0.mlp.experts.gate_up_proj",
            (3, 2 * WIDTH, HIDDEN),
            {"model_type": "qwen3_moe", **MLP},
            np.s_[:WIDTH],
        ),
        (
            "encoder.layer.0.mlp.up_gate_proj.weight",
            (2 * WIDTH, HIDDEN),
            {"model_type": "new", **MLP},
            np.s_[WIDTH:],
        ),
        (
            "language_model.model.layers.0.feed_forward.experts.gate_up_proj",
            (3, HIDDEN, 2 * WIDTH),
            {"text_config": {"model_type": "llama4_text", **MLP}},
            np.s_[:, :WIDTH],
        ),
        (
            "model.layers.0.mlp.experts.gate_up_proj",
            (3, HIDDEN, 2 * WIDTH),
            {"model_type": "gpt_oss", **MLP},
            np.s_[:, ::2],
        ),
    ],
)
def test_gate_and_up_are_split(tmp_path, rng, name, shape, config, cut):
    array = rng.standard_normal(shape, np.float32)
    weights = opened(tmp_path, name, array, config)
    gates = [weight for weight in weights if weight.part and weight.part.name == "gate_proj"]
    stack = array if len(shape) == 3 else array[None]
    assert len(gates) == len(stack)
    for gate, matrix in zip(gates, stack, strict=True):
        np.testing.assert_array_equal(whole(gate), matrix[cut])
    kinds = {weight.role.block_type for weight in weights if weight.part}
    assert kinds == {"gate_proj", "up_proj"}


@pytest.mark.parametrize(
    ("name", "shape", "config", "why"),
    [
        (PHI3, (80, HIDDEN), {}, "no layout for a model without a type"),
        (PHI3, (80, HIDDEN), {"model_type": "phi5", **GQA}, "no layout for model type 'phi5'"),
        (PHI3, (81, HIDDEN), {"model_type": "phi3", **GQA}, "80 lines, which fits neither axis"),
        (PHI3, (80, HIDDEN), {"model_type": "phi3", **GQA, "num_key_value_heads": 4}, "not 1"),
        (
            PHI3,
            (80, HIDDEN),
            {"model_type": "phi3", **GQA, "num_attention_heads": [6, 6]},
            "one number and width of heads",
        ),
        (CODEGEN, (144, HIDDEN), {"model_type": "codegen", **MHA}, "not 4 equal turns"),
        (CODEGEN, (144, HIDDEN), {"model_type": "ctrl", **MHA}, "no layout"),
        (
            "vision_tower.blocks.0.attn.qkv.weight",
            (144, HIDDEN),
            {"model_type": "phi3", **MHA},
            "not vision's",
        ),
        ("model.layers.0.mlp.gate_up_proj.weight", (160, 160), GLM4, "fits both axes"),
        ("model.layers.0.mlp.gate_up_proj.weight", (160, HIDDEN), MLP, "no layout"),
        ("model.layers.0.mlp.gate_up_proj.weight", (6, 4), {"model_type": "glm4"}, "one width"),
    ],
)
def test_what_cannot_be_split_with_certainty_stays_whole(tmp_path, name, shape, config, why):
    (weight,) = opened(tmp_path, name, np.ones(shape, np.float32), config)
    assert weight.part is None
    assert why in weight.unsplit


def test_a_whole_matrix_needs_no_reason(tmp_path):
    name = "model.layers.0.self_attn.q_proj.weight"
    (weight,) = opened(tmp_path, name, np.ones((8, 8), np.float32), {"model_type": "phi5"})
    assert weight.unsplit is None


@pytest.mark.parametrize("architecture", ["qwen3next", "persimmon", "neo-bert", "tomorrow"])
def test_gguf_of_other_architectures_stays_whole(tmp_path, architecture):
    path = write_gguf(
        tmp_path / "m.gguf",
        {"blk.0.attn_qkv.weight": (np.ones((80, HIDDEN), np.float32), "F32")},
        architecture=architecture,
        **{
            f"{architecture}.attention.head_count": HEADS,
            f"{architecture}.attention.head_count_kv": KV,
            f"{architecture}.embedding_length": HIDDEN,
        },
    )
    (weight,) = open_checkpoint(model_files(path)).weights()
    assert f"llama.cpp has no layout for model type {architecture!r}" in weight.unsplit


def test_gguf_metadata_have_the_heads(tmp_path, rng):
    matrix = rng.standard_normal((80, HIDDEN)).astype(np.float32)
    path = write_gguf(
        tmp_path / "m.gguf",
        {"blk.0.attn_qkv.weight": (matrix, "F32")},
        llama__attention__head_count=HEADS,
        llama__attention__head_count_kv=KV,
        llama__embedding_length=HIDDEN,
    )
    checkpoint = open_checkpoint(model_files(path))
    assert checkpoint.architecture.heads == HEADS
    _, *parts = checkpoint.weights()
    for part, values in zip(
        parts, np.split(matrix, [HEADS * DIM, (HEADS + KV) * DIM]), strict=True
    ):
        np.testing.assert_array_equal(whole(part), values)


@given(st.integers(1, 5), st.lists(st.integers(1, 7), min_size=1, max_size=4))
def test_the_parts_of_a_layout_are_every_line_once(turns, lengths):
    period, offsets = sum(lengths), np.cumsum([0, *lengths[:-1]])
    seen = []
    for offset, length in zip(offsets, lengths, strict=True):
        part = Part("p", 0, length * turns, period, int(offset), length)
        rows, _ = part.source(slice(0, part.count), slice(0, 1))
        seen += list(range(rows.start, rows.stop)) if isinstance(rows, slice) else list(rows)
    assert sorted(seen) == list(range(period * turns))


def test_biases_of_stacked_experts_are_vectors(tmp_path, rng):
    array = rng.standard_normal((3, 160), np.float32)
    weights = opened(tmp_path, "model.layers.0.mlp.experts.gate_up_proj_bias", array, MLP)
    assert [(w.shape, w.rows, w.expert_index) for w in weights] == [
        ((160,), None, i) for i in range(3)
    ]
    for weight, values in zip(weights, array, strict=True):
        np.testing.assert_array_equal(whole(weight), values)


def test_a_table_for_a_batch_of_one_is_one_matrix(tmp_path):
    name = "vision_tower.embeddings.position_embedding"
    (weight,) = opened(tmp_path, name, np.ones((1, 10, 4), np.float32), {})
    assert (weight.rows, weight.cols, weight.expert_index) == (10, 4, None)


def test_gguf_files_do_not_follow_the_config_in_their_folder(tmp_path, rng):
    matrix = rng.standard_normal((144, HIDDEN)).astype(np.float32)
    path = write_gguf(
        tmp_path / "m.gguf",
        {"blk.0.attn_qkv.weight": (matrix, "F32")},
        llama__attention__head_count=HEADS,
        llama__embedding_length=HIDDEN,
    )
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "gpt_neox", **MHA}))
    _, query, *_ = open_checkpoint(model_files(path, config=config)).weights()
    np.testing.assert_array_equal(whole(query), matrix[:48])

"""Fused matrices against the slices that transformers' models take, and stacks."""

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


def blocks(w, q, kv):
    return w[:q], w[q : q + kv], w[q + kv :]


def heads(w, q, kv):
    """BLOOM's, GPT-NeoX's and Falcon's view(num_heads, 3, head_dim)."""
    parts = w.reshape(HEADS, 3, DIM, -1)
    return tuple(parts[:, i].reshape(-1, w.shape[1]) for i in range(3))


def groups(w, q, kv):
    """Falcon-40B's and InternLM2's view(kv_heads, heads / kv_heads + 2, head_dim)."""
    parts = w.reshape(KV, HEADS // KV + 2, DIM, -1)
    cuts = parts[:, :-2], parts[:, -2], parts[:, -1]
    return tuple(part.reshape(-1, w.shape[1]) for part in cuts)


PHI3 = "model.layers.0.self_attn.qkv_proj.weight"
NEOX = "gpt_neox.layers.0.attention.query_key_value.weight"
FALCON = "transformer.h.0.self_attention.query_key_value.weight"
QKV = {
    "phi3": (PHI3, {"model_type": "phi3", **GQA}, blocks),
    "phi3 in text_config": (PHI3, {"text_config": {"model_type": "phi3", **GQA}}, blocks),
    "gpt_neox": (NEOX, {"model_type": "gpt_neox", **MHA}, heads),
    "bloom": ("h.0.self_attention.query_key_value.weight", {"model_type": "bloom", **MHA}, heads),
    "falcon": (FALCON, {"model_type": "falcon", **MHA}, heads),
    "falcon-7b": (FALCON, {"model_type": "falcon", "multi_query": True, **MHA}, blocks),
    "falcon-7b as published": (
        FALCON,
        {"model_type": "falcon", "multi_query": True, "num_kv_heads": HEADS, **MHA},
        blocks,
    ),
    "falcon-40b": (
        FALCON,
        {
            **{"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": KV},
            **{"multi_query": True, **MHA},
        },
        groups,
    ),
    "internlm2": (
        "model.layers.0.attention.wqkv.weight",
        {"model_type": "internlm2", **GQA},
        groups,
    ),
}


def opened(path, name, array, config):
    (path / "config.json").write_text(json.dumps(config))
    file = write_safetensors(path / "model.safetensors", {name: array})
    return open_checkpoint(model_files(file, config=path / "config.json")).weights()


@pytest.mark.parametrize("case", QKV)
def test_query_key_and_value_are_split(tmp_path, rng, case):
    name, config, split = QKV[case]
    kv = KV if split is groups or "num_key_value_heads" in str(config) else HEADS
    kv = 1 if config.get("multi_query") and split is not groups else kv
    matrix = rng.standard_normal(((HEADS + 2 * kv) * DIM, HIDDEN), np.float32)
    fused, *parts = opened(tmp_path, name, matrix, config)
    assert (fused.role.block_type, fused.part) == ("qkv_proj", None)
    assert [part.role.block_type for part in parts] == ["q_proj", "k_proj", "v_proj"]
    assert [part.part.name for part in parts] == ["q_proj", "k_proj", "v_proj"]
    assert len({weight.label for weight in (fused, *parts)}) == 4
    for part, values in zip(parts, split(matrix, HEADS * DIM, kv * DIM), strict=True):
        np.testing.assert_array_equal(whole(part), values)
        assert part.shape == values.shape
    assert sum(part.numel for part in parts) == fused.numel
    assert sum(part.nbytes for part in parts) == fused.nbytes


def test_conv1d_of_gpt2_is_cut_between_its_columns(tmp_path, rng):
    matrix = rng.standard_normal((HIDDEN, 3 * HIDDEN), np.float32)
    config = {"model_type": "gpt2", "n_head": HEADS, "n_embd": HIDDEN}
    _, *parts = opened(tmp_path, "transformer.h.0.attn.c_attn.weight", matrix, config)
    for part, values in zip(parts, np.split(matrix, 3, axis=1), strict=True):
        np.testing.assert_array_equal(whole(part), values)


@pytest.mark.parametrize(
    ("name", "shape", "config", "cut"),
    [
        ("model.layers.0.mlp.gate_up_proj.weight", (2 * WIDTH, HIDDEN), MLP, np.s_[:WIDTH]),
        ("model.layers.0.mlp.experts.gate_up_proj", (3, 2 * WIDTH, HIDDEN), MLP, np.s_[:WIDTH]),
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
    assert {weight.role.block_type for weight in weights} == {
        "gate_up_proj",
        "gate_proj",
        "up_proj",
    }


@pytest.mark.parametrize(
    ("name", "shape", "config"),
    [
        (PHI3, (80, HIDDEN), {}),
        (PHI3, (81, HIDDEN), {"model_type": "phi3", **GQA}),
        (PHI3, (80, HIDDEN), {"model_type": "phi3", **GQA, "num_key_value_heads": 4}),
        (PHI3, (80, HIDDEN), {"model_type": "phi3", **GQA, "num_attention_heads": [6, 6]}),
        (PHI3, (144, HIDDEN), {"model_type": "codegen", **MHA}),
        ("vision_tower.blocks.0.attn.qkv.weight", (144, HIDDEN), {"model_type": "x", **MHA}),
        ("model.layers.0.mlp.gate_up_proj.weight", (160, 160), MLP),
    ],
)
def test_what_cannot_be_split_with_certainty_stays_whole(tmp_path, name, shape, config):
    (weight,) = opened(tmp_path, name, np.ones(shape, np.float32), config)
    assert weight.part is None


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
    for part, values in zip(parts, blocks(matrix, HEADS * DIM, KV * DIM), strict=True):
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

"""The same heads under the names, orders and fused matrices of many families."""

import numpy as np
import pytest
from head_models import (
    NAMES,
    NUMPY,
    TOL,
    agree,
    attention,
    by_head,
    config_of,
    dense,
    named,
    products,
    rows_of,
)
from weightfiles import model_files, write_gguf

from mlx_probe.analysis.side_tables.heads.rows import head_rows
from mlx_probe.checkpoint import open_checkpoint


def permuted(matrix, heads):
    """llama.cpp's order of the rows within a head."""
    shape = matrix.shape
    return matrix.reshape(heads, 2, shape[0] // heads // 2, shape[1]).swapaxes(1, 2).reshape(shape)


def test_the_row_order_of_llama_cpp_changes_nothing_if_both_have_it(rng):
    matrices, config = attention(rng, 6, 2, 8, 48), config_of(6, 2, 8, 48)
    before = by_head(rows_of(named(matrices), config))
    both = {**matrices, "q": permuted(matrices["q"], 6), "k": permuted(matrices["k"], 2)}
    agree(before, by_head(rows_of(named(both), config)))
    one = by_head(rows_of(named({**both, "k": matrices["k"]}), config))
    assert one[0, "qk"]["nuclear_norm"] != pytest.approx(before[0, "qk"]["nuclear_norm"], rel=1e-3)


@pytest.mark.slow
def test_gguf_metadata_tell_the_heads(tmp_path, rng):
    matrices = attention(rng, 6, 2, 8, 48)
    names = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output"}
    stored = {kind: matrix.astype(np.float32) for kind, matrix in matrices.items()}
    path = write_gguf(
        tmp_path / "m.gguf",
        {f"blk.3.{names[kind]}.weight": (matrix, "F32") for kind, matrix in stored.items()},
        llama__attention__head_count=6,
        llama__attention__head_count_kv=2,
        llama__embedding_length=48,
    )
    with open_checkpoint(model_files(path)) as checkpoint:
        rows = list(head_rows(checkpoint.weights(), checkpoint.architecture, NUMPY, TOL))
    assert {row["layer_index"] for row in rows} == {3}
    wide = {kind: matrix.astype(np.float64) for kind, matrix in stored.items()}
    for head, circuit, matrix in products(wide, 6, 2):
        row = by_head(rows)[head, circuit]
        assert row["nuclear_norm"] == pytest.approx(dense(matrix, 8)["nuclear_norm"], rel=1e-9)


def interleaved(q, k, v, kv, dim):
    """InternLM2's and Falcon-40B's order: the queries of a group, its key, its value."""
    hidden = q.shape[1]
    cut = [m.reshape(kv, -1, dim, hidden) for m in (q, k, v)]
    return np.concatenate(cut, axis=1).reshape(-1, hidden)


def test_parts_of_a_fused_matrix_are_the_same_heads(rng):
    matrices, config = attention(rng, 6, 2, 8, 48), config_of(6, 2, 8, 48)
    expected = by_head(rows_of(named(matrices), config))
    q, k, v, o = (matrices[kind] for kind in "qkvo")
    phi = {
        "model.layers.0.self_attn.qkv_proj.weight": np.vstack([q, k, v]),
        NAMES["o"]: o,
    }
    agree(by_head(rows_of(phi, {**config, "model_type": "phi3"})), expected)
    intern = {
        "model.layers.0.attention.wqkv.weight": interleaved(q, k, v, 2, 8),
        "model.layers.0.attention.wo.weight": o,
    }
    agree(by_head(rows_of(intern, {**config, "model_type": "internlm2"})), expected)


def test_gpt2_has_its_inputs_as_rows(rng):
    matrices = attention(rng, 4, 4, 8, 32)
    expected = by_head(rows_of(named(matrices), config_of(4, 4, 8, 32)))
    arrays = {
        "transformer.h.0.attn.c_attn.weight": np.vstack([matrices[k] for k in "qkv"]).T.copy(),
        "transformer.h.0.attn.c_attn.bias": np.ones(96),
        "transformer.h.0.attn.c_proj.weight": matrices["o"].T.copy(),
    }
    agree(by_head(rows_of(arrays, {"model_type": "gpt2", "n_head": 4, "n_embd": 32})), expected)


def test_encoder_and_decoder_and_cross_attention_are_apart(rng):
    arrays, config = {}, {"model_type": "t5", "num_heads": 2, "d_model": 16}
    modules = {
        "encoder.block.0.layer.0.SelfAttention": "attention",
        "decoder.block.0.layer.0.SelfAttention": "attention",
        "decoder.block.0.layer.1.EncDecAttention": "cross_attention",
    }
    expected = {}
    for module in modules:
        matrices = attention(rng, 2, 2, 8, 16)
        arrays |= {f"{module}.{kind}.weight": matrix for kind, matrix in matrices.items()}
        for head, circuit, matrix in products(matrices, 2, 2):
            expected[module, head, circuit] = dense(matrix, 8)["nuclear_norm"]
    rows = rows_of(arrays, config)
    assert len(rows) == len(expected)
    for row in rows:
        module = row["left_param_name"].rpartition(".")[0].rpartition(".")[0]
        assert row["component"] == modules[module]
        assert row["nuclear_norm"] == pytest.approx(
            expected[module, row["head_index"], row["circuit"]], rel=1e-9
        )


def test_a_norm_between_the_factors_is_marked(rng):
    arrays = named(attention(rng, 4, 2, 8, 32))
    arrays["model.layers.0.self_attn.q_norm.weight"] = np.ones(8)
    more = {name.replace("layers.0", "layers.1"): array for name, array in arrays.items()}
    del more["model.layers.1.self_attn.q_norm.weight"]
    more["model.layers.1.input_layernorm.weight"] = np.ones(32)
    rows = rows_of(arrays | more, config_of(4, 2, 8, 32))
    marked = {(row["layer_index"], row["circuit"]): row["qk_norm"] for row in rows}
    assert marked == {(0, "qk"): True, (0, "ov"): False, (1, "qk"): False, (1, "ov"): False}

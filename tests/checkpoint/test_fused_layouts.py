"""Fused queries, keys and values of every family against the slices that its own code takes."""

import json

import numpy as np
import pytest
from weightfiles import model_files, whole, write_safetensors

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.checkpoint.architecture import read_architecture

HEADS, KV, DIM, HIDDEN = 6, 2, 8, 48
GQA = {"num_attention_heads": HEADS, "num_key_value_heads": KV, "hidden_size": HIDDEN}
MHA = {"num_attention_heads": HEADS, "hidden_size": HIDDEN}


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


def shards(count):
    """CodeGen's reshape(mp_num, -1), whose pieces are queries, values and keys."""

    def split(w, q, kv):
        parts = w.reshape(count, 3, q // count, -1)
        query, value, key = (parts[:, i].reshape(-1, w.shape[1]) for i in range(3))
        return query, key, value

    return split


PHI3 = "model.layers.0.self_attn.qkv_proj.weight"
NEOX = "gpt_neox.layers.0.attention.query_key_value.weight"
FALCON = "transformer.h.0.self_attention.query_key_value.weight"
GPT = "transformer.h.0.attn.c_attn.weight"
MPT = "transformer.blocks.0.attn.Wqkv.weight"
CODEGEN = "transformer.h.0.attn.qkv_proj.weight"
GLM = "transformer.encoder.layers.0.self_attention.query_key_value.weight"
NOMIC = "encoder.layers.0.attn.Wqkv.weight"
# name of the tensor, config.json, key and value heads, how the model's own code cuts it.
QKV = {
    "phi3": (PHI3, {"model_type": "phi3", **GQA}, KV, blocks),
    "phi3 in text_config": (PHI3, {"text_config": {"model_type": "phi3", **GQA}}, KV, blocks),
    "phi-msft": (
        "transformer.h.0.mixer.Wqkv.weight",
        {"model_type": "phi-msft", "n_head": HEADS, "n_head_kv": KV, "n_embd": HIDDEN},
        *(KV, blocks),
    ),
    "gpt_neox": (NEOX, {"model_type": "gpt_neox", **MHA}, HEADS, heads),
    "bloom": (FALCON, {"model_type": "bloom", **MHA}, HEADS, heads),
    "persimmon": (PHI3, {"model_type": "persimmon", **MHA}, HEADS, heads),
    "neobert": (
        "transformer_encoder.0.qkv.weight",
        {"model_type": "neobert", **MHA},
        *(HEADS, heads),
    ),
    "minimax, whose other layers have fewer keys": (
        PHI3,
        {"model_type": "minimax", **GQA},
        *(HEADS, heads),
    ),
    "falcon": (FALCON, {"model_type": "falcon", "multi_query": False, **MHA}, HEADS, heads),
    "falcon-7b": (FALCON, {"model_type": "falcon", "multi_query": True, **MHA}, 1, blocks),
    "falcon by default": (FALCON, {"model_type": "falcon", **MHA}, 1, blocks),
    "falcon-7b as published": (
        FALCON,
        {"model_type": "falcon", "multi_query": True, "num_kv_heads": HEADS, **MHA},
        *(1, blocks),
    ),
    "falcon-40b": (
        FALCON,
        {
            **{"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": KV},
            **{"multi_query": True, **MHA},
        },
        *(KV, groups),
    ),
    "RefinedWeb": (
        FALCON,
        {"model_type": "RefinedWeb", "n_head": HEADS, "n_head_kv": KV, "hidden_size": HIDDEN},
        *(KV, groups),
    ),
    "RefinedWebModel": (
        FALCON,
        {"model_type": "RefinedWebModel", "n_head": HEADS, "hidden_size": HIDDEN},
        *(HEADS, heads),
    ),
    "RefinedWebModel, one key": (
        FALCON,
        {
            **{"model_type": "RefinedWebModel", "n_head": HEADS, "hidden_size": HIDDEN},
            "multi_query": True,
        },
        *(1, blocks),
    ),
    "internlm2": (
        "model.layers.0.attention.wqkv.weight",
        {"model_type": "internlm2", **GQA},
        *(KV, groups),
    ),
    "phi3small": (
        "model.layers.0.self_attn.query_key_value.weight",
        {"model_type": "phi3small", **GQA},
        *(KV, groups),
    ),
    "chatglm": (
        "transformer.layers.0.attention.query_key_value.weight",
        {"model_type": "chatglm", **MHA},
        *(HEADS, heads),
    ),
    "chatglm2": (
        GLM,
        {
            **{"model_type": "chatglm", "multi_query_attention": True, "kv_channels": DIM},
            **{"multi_query_group_num": KV, **MHA},
        },
        *(KV, blocks),
    ),
    "chatglm2 without groups": (
        GLM,
        {"model_type": "chatglm", "multi_query_group_num": 1, "kv_channels": DIM, **MHA},
        *(HEADS, heads),
    ),
    "gpt_bigcode": (
        GPT,
        {"model_type": "gpt_bigcode", "n_head": HEADS, "n_embd": HIDDEN},
        *(1, blocks),
    ),
    "gpt_bigcode, all keys": (
        GPT,
        {"model_type": "gpt_bigcode", "n_head": HEADS, "n_embd": HIDDEN, "multi_query": False},
        *(HEADS, heads),
    ),
    "qwen": (GPT, {"model_type": "qwen", "kv_channels": DIM, **MHA}, HEADS, blocks),
    "baichuan": (
        "model.layers.0.self_attn.W_pack.weight",
        {"model_type": "baichuan", **MHA},
        *(HEADS, blocks),
    ),
    "codeshell": (
        GPT,
        {"model_type": "codeshell", "n_head": HEADS, "n_embd": HIDDEN, "num_query_groups": KV},
        *(KV, blocks),
    ),
    "mpt": (MPT, {"model_type": "mpt", "n_heads": HEADS, "d_model": HIDDEN}, HEADS, blocks),
    "mpt with groups": (
        MPT,
        {
            **{"model_type": "mpt", "n_heads": HEADS, "d_model": HIDDEN},
            "attn_config": {"attn_type": "grouped_query_attention", "kv_n_heads": KV},
        },
        *(KV, blocks),
    ),
    "mpt with one key": (
        MPT,
        {
            **{"model_type": "mpt", "n_heads": HEADS, "d_model": HIDDEN},
            "attn_config": {"attn_type": "multiquery_attention"},
        },
        *(1, blocks),
    ),
    "dbrx": (
        "transformer.blocks.0.norm_attn_norm.attn.Wqkv.weight",
        {
            **{"model_type": "dbrx", "n_heads": HEADS, "d_model": HIDDEN},
            "attn_config": {"kv_n_heads": KV},
        },
        *(KV, blocks),
    ),
    "hf_olmo": (
        "model.transformer.blocks.0.att_proj.weight",
        {"model_type": "hf_olmo", "n_heads": HEADS, "n_kv_heads": KV, "d_model": HIDDEN},
        *(KV, blocks),
    ),
    "bailing_moe": (
        "model.layers.0.attention.query_key_value.weight",
        {"model_type": "bailing_moe", **GQA},
        *(KV, blocks),
    ),
    "nomic_bert": (
        NOMIC,
        {"model_type": "nomic_bert", "n_head": HEADS, "n_embd": HIDDEN},
        *(HEADS, blocks),
    ),
    "progen": (
        CODEGEN,
        {"model_type": "progen", "n_head": 16, "n_embd": HIDDEN},
        *(16, shards(8)),
    ),
    "codegen": (CODEGEN, {"model_type": "codegen", "n_head": 4, "n_embd": 32}, 4, shards(4)),
    "moss": (CODEGEN, {"model_type": "moss", "n_head": 8, "n_embd": HIDDEN}, 8, shards(4)),
}


def opened(path, name, array, config):
    (path / "config.json").write_text(json.dumps(config))
    file = write_safetensors(path / "model.safetensors", {name: array})
    return open_checkpoint(model_files(file, config=path / "config.json")).weights()


@pytest.mark.parametrize("case", QKV)
def test_query_key_and_value_are_split(tmp_path, rng, case):
    name, config, kv, split = QKV[case]
    inner = config.get("text_config", config)
    count = next(inner[k] for k in ("num_attention_heads", "n_head", "n_heads") if k in inner)
    width = next(inner[k] for k in ("hidden_size", "n_embd", "d_model") if k in inner)
    dim = width // count
    matrix = rng.standard_normal(((count + 2 * kv) * dim, width), np.float32)
    fused, *parts = opened(tmp_path, name, matrix, config)
    assert (fused.role.block_type, fused.part, fused.unsplit) == ("qkv_proj", None, None)
    assert [part.role.block_type for part in parts] == ["q_proj", "k_proj", "v_proj"]
    assert [part.part.name for part in parts] == ["q_proj", "k_proj", "v_proj"]
    assert len({weight.label for weight in (fused, *parts)}) == 4
    for part, values in zip(parts, split(matrix, count * dim, kv * dim), strict=True):
        np.testing.assert_array_equal(whole(part), values)
        assert part.shape == values.shape
    assert sum(part.numel for part in parts) == fused.numel
    assert sum(part.nbytes for part in parts) == fused.nbytes


def test_a_head_of_latent_attention_is_as_wide_as_both_of_its_parts():
    """DeepSeek-V3's config.json: 7168 / 128 is no width that anything in it has."""
    config = {
        "model_type": "deepseek_v3",
        **{"hidden_size": 7168, "num_attention_heads": 128, "num_hidden_layers": 61},
        **{"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128},
    }
    assert read_architecture(config, {}).head_dim == 192
    del config["qk_nope_head_dim"]
    assert read_architecture(config, {}).head_dim == 56

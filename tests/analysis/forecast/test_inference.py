"""Memory of inference, against the models that mlx-lm builds."""

import json

import gguf
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from lab import mlx_lm
from mlx.utils import tree_flatten

import mlx_probe
from mlx_probe.analysis.forecast.inference import STORED, cache_of, inference_of

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 128,
}
GEMMA = {
    "model_type": "gemma3_text",
    "hidden_size": 64,
    "num_hidden_layers": 7,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "vocab_size": 128,
    "sliding_window": 128,
    "sliding_window_pattern": 3,
}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 128,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "kv_lora_rank": 32,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "first_k_dense_replace": 1,
}
BUILT = {
    "grouped queries": LLAMA,
    "sliding windows": GEMMA,
    "latent attention": DEEPSEEK,
}
# mlx-lm's cache grows in steps of so many tokens.
TOKENS = 256


def built(config):
    module = mlx_lm(f"models.{config['model_type']}")
    return module.Model(module.ModelArgs.from_dict(config))


def saved(model, config, folder):
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def cached_elements(model):
    """Elements that mlx-lm's cache holds after `TOKENS` tokens, fed one window at a time."""
    cache = mlx_lm("models.cache").make_prompt_cache(model)
    for start in range(0, TOKENS, 64):
        model(mx.arange(start, start + 64)[None] % 128, cache=cache)
    arrays = [x for layer in cache for x in (layer.keys, layer.values)]
    return sum(x[..., : min(x.shape[2], TOKENS), :].size for x in arrays)


@pytest.mark.parametrize("name", BUILT)
def test_the_cache_is_as_large_as_mlx_lms(name, tmp_path):
    with mx.stream(mx.cpu):
        model = built(BUILT[name])
        expected = cached_elements(model)
        folder = saved(model, BUILT[name], tmp_path)
    with mlx_probe.open_checkpoint(folder) as checkpoint:
        (memory,) = inference_of(checkpoint, [TOKENS], [16])
    # Of a window mlx-lm keeps up to a chunk more than what it sees.
    slack = 1.35 if name == "sliding windows" else 1.0
    assert memory.cache <= 2 * expected <= slack * memory.cache
    assert memory.total == memory.weights + memory.cache


@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_weights_are_as_large_as_mlxs(bits, tmp_path):
    config = LLAMA | {"hidden_size": 256, "intermediate_size": 512, "vocab_size": 512}
    with mx.stream(mx.cpu):
        model = built(config)
        model.set_dtype(mx.bfloat16)
        folder = saved(model, config, tmp_path)
        nn.quantize(model, bits=bits, group_size=64)
        expected = sum(x.nbytes for _, x in tree_flatten(model.parameters()))
    with mlx_probe.open_checkpoint(folder) as checkpoint:
        memory = {each.bits: each for each in inference_of(checkpoint, [1], [bits, 16, STORED])}
    assert memory[bits].weights == pytest.approx(expected, rel=0.01)
    assert memory[16].weights == memory[STORED].weights


@pytest.mark.parametrize("config", [{}, {"num_hidden_layers": 4}, {"num_attention_heads": 3}])
def test_a_cache_that_nobody_tells_is_not_invented(config, model):
    (model / "config.json").write_text(json.dumps(config))
    with mlx_probe.open_checkpoint(model) as checkpoint:
        (memory,) = inference_of(checkpoint, [4096], [16])
    assert memory.cache is None
    assert memory.total == memory.weights


def test_layers_without_attention_keep_nothing_that_grows(model):
    def cache(**more):
        config = {"num_hidden_layers": 4, "num_attention_heads": 4, "hidden_size": 64, **more}
        (model / "config.json").write_text(json.dumps(config))
        with mlx_probe.open_checkpoint(model) as checkpoint:
            return np.array([each.cache for each in inference_of(checkpoint, [100, 200], [16])])

    whole = cache()
    assert (cache(full_attention_interval=2) * 2 == whole).all()
    kinds = ["linear_attention", "full_attention", "linear_attention", "linear_attention"]
    assert (cache(layer_types=kinds) * 4 == whole).all()
    # A window that is switched off is none.
    assert (cache(sliding_window=10, use_sliding_window=False) == whole).all()
    assert (cache(sliding_window=50) * 2 == whole[:1]).all()


@pytest.mark.parametrize(
    ("config", "none", "unknown"),
    [
        ({"model_type": "bert"}, True, False),
        ({"model_type": "bert", "architectures": ["BertModel"]}, True, False),
        ({"model_type": "modernbert", "architectures": ["ModernBertForMaskedLM"]}, True, False),
        ({"model_type": "bert", "is_decoder": True}, False, False),
        ({"model_type": "bert", "architectures": ["BertLMHeadModel"]}, False, False),
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, False, False),
        ({"model_type": "llama"}, False, False),
        ({"model_type": "t5", "is_encoder_decoder": True}, False, True),
    ],
)
def test_an_encoder_has_no_cache(config, none, unknown, model):
    sizes = {"num_hidden_layers": 4, "num_attention_heads": 4, "hidden_size": 64}
    (model / "config.json").write_text(json.dumps({**sizes, **config}))
    with mlx_probe.open_checkpoint(model) as checkpoint:
        cache = cache_of(checkpoint)
        (memory,) = inference_of(checkpoint, [4096], [16])
    assert (bool(cache.none), bool(cache.unknown)) == (none, unknown)
    assert memory.cache == (None if unknown else 0 if none else 2 * 2 * 4 * 64 * 4096)


def test_a_gguf_says_whether_it_generates(tmp_path):
    def cache(causal):
        writer = gguf.GGUFWriter(tmp_path / "model.gguf", "bert")
        writer.add_block_count(2)
        writer.add_embedding_length(64)
        writer.add_head_count(4)
        writer.add_causal_attention(causal)
        writer.add_tensor("token_embd.weight", np.ones((4, 64), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with mlx_probe.open_checkpoint(tmp_path / "model.gguf") as checkpoint:
            return cache_of(checkpoint)

    assert "encoder (bert)" in cache(causal=False).none
    assert cache(causal=True).full == 2 * 2 * 64

"""Tiny models of transformers with random weights, and their files."""

from importlib import import_module

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

# Sizes by the names that configurations have for them. Heads are not hidden_size / heads wide,
# there are fewer keys than queries, and no two extents are equal, so that no layout passes for
# another one.
SIZES = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "embedding_size", "emb_dim"), 32),
    **dict.fromkeys(("embed_dim", "word_embed_proj_dim", "lru_width"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers"), 1),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("attention_heads", "num_encoder_attention_heads"), 4),
    **dict.fromkeys(("num_decoder_attention_heads",), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "n_head_kv"), 2),
    **dict.fromkeys(("head_dim",), 12),
    **dict.fromkeys(("d_kv",), 10),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff"), 40),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "shared_intermediate_size"), 40),
    **dict.fromkeys(("num_encoder_layers", "intermediate_size_mlp"), 1),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 24),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("moe_num_experts",), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts"), 1),
    **dict.fromkeys(("vocab_size", "max_position_embeddings", "n_positions", "n_ctx"), 64),
    **dict.fromkeys(("sliding_window", "attention_window_size", "max_seq_len"), 64),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("rotary_dim",), 4),
    **dict.fromkeys(("hidden_size_per_layer_input",), 16),
    **dict.fromkeys(("vocab_size_per_layer_input",), 64),
    **dict.fromkeys(("linear_num_value_heads", "mamba_n_heads", "mamba_num_heads"), 4),
    **dict.fromkeys(("linear_num_key_heads",), 2),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "mamba_d_state"), 8),
    **dict.fromkeys(("mamba_n_groups",), 1),
    **dict.fromkeys(("partial_rotary_factor",), 0.5),
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0),
    **dict.fromkeys(("decoder_start_token_id",), 0),
}


def configuration(kind, options):
    """A configuration of tiny sizes; ``options`` come first."""
    names = kind.attribute_map or {}
    known = set(kind.__dataclass_fields__) | set(names)
    sizes = {names.get(key, key): value for key, value in SIZES.items() if key in known}
    return kind(**{**sizes, **options})


def build(architecture, options):
    """A model with random weights, biases and norms."""
    package = pytest.importorskip("transformers", reason="mlx-lm, which brings it, needs 3.11")
    kind = getattr(package, architecture)
    config = configuration(kind.config_class, options)
    package.logging.set_verbosity_error()
    model = kind._from_config(config, attn_implementation="eager", dtype=torch.float32)
    # One matrix for each expert at a time, as the spy looks for them.
    model.config._experts_implementation = "eager"
    model.config.use_cache = False
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # tables of sines
            continue
        noise = torch.randn(parameter.shape, generator=generator)
        if "sink" in name:  # takes nothing from the softmax of one score
            parameter.data.fill_(-40.0)
        elif parameter.dim() > 1:
            parameter.data = noise / parameter.shape[-1] ** 0.5
        else:
            parameter.data = noise * 0.2 + ("norm" in name.lower() or "ln_" in name)
    return model.eval().requires_grad_(False)


def save(model, folder):
    """config.json and weights under the names that `save_pretrained` writes."""
    loading = import_module("transformers.core_model_loading")
    stored = loading.revert_weight_conversion(model, dict(model.state_dict()))
    (folder / "config.json").write_text(model.config.to_json_string())
    arrays = {
        name: np.ascontiguousarray(tensor.detach().float().numpy())
        for name, tensor in stored.items()
        if tensor.is_floating_point()
    }
    save_file(arrays, folder / "model.safetensors")
    return folder / "model.safetensors"

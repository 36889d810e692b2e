"""Tiny mixtures of mlx-lm's families, made in memory, with random weights."""

from types import SimpleNamespace

import mlx.core as mx
import numpy as np
from lab import mlx_lm
from mlx.utils import tree_flatten, tree_unflatten

EXPERTS, ACTIVE, DIM, VOCABULARY = 8, 2, 32, 96
# What the families call the same things; each takes what it knows.
SHAPE = {
    "hidden_size": DIM, "num_hidden_layers": 2, "num_layers": 1, "vocab_size": VOCABULARY,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-6,
    "intermediate_size": 24, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 16,
    "shared_intermediate_size": 16, "expert_ffn_hidden_size": 24, "ffn_hidden_size": 24,
    "num_experts": EXPERTS, "num_local_experts": EXPERTS, "n_routed_experts": EXPERTS,
    "moe_num_experts": EXPERTS, "num_experts_per_tok": ACTIVE, "num_experts_per_token": ACTIVE,
    "moe_topk": ACTIVE, "moe_k": ACTIVE, "moe_top_k": ACTIVE, "n_shared_experts": 1,
    "num_shared_experts": 1, "num_shared_expert": 1, "moe_num_shared_experts": 1,
    "n_group": 1, "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 1.5,
    "decoder_sparse_step": 1, "mlp_only_layers": [], "moe_layer_freq": 1,
    "first_k_dense_replace": 0, "num_dense_layers": 0, "max_position_embeddings": 64,
    "rope_theta": 1e4, "rope_scaling": None, "tie_word_embeddings": True,
    "attention_bias": False, "mlp_bias": False, "use_bias": False, "use_qk_norm": False,
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "logits_scaling": 1.0, "attention_multiplier": 0.3,
    "embedding_multiplier": 1.0, "residual_multiplier": 1.0, "partial_rotary_factor": 1.0,
    "sliding_window": 16, "rotary_dim": 8,
}  # fmt: skip
_MAMBA = {"mamba_d_conv": 3, "mamba_d_state": 4, "mamba_expand": 2, "mamba_dt_rank": 4}
_OF_BAILING = {"moe_router_enable_expert_bias": True, "score_function": "sigmoid"}
_YARN = {
    "factor": 1.0,
    "mscale_all_dim": 0.0,
    "type": "yarn",
    "original_max_position_embeddings": 64,
}
_GROUPS = {"n_group": 4, "topk_group": 2}
_KIMI = {
    "num_heads": 2,
    "head_dim": 8,
    "kda_layers": [2],
    "short_conv_kernel_size": 3,
    "full_attn_layers": [1],
}
_NEXT = {
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 3,
    "full_attention_interval": 1,
}
_OF_LLAMA4 = {
    "attention_chunk_size": 16, "attn_temperature_tuning": 4, "floor_scale": 8, "attn_scale": 0.1,
    "interleave_moe_layer_step": 1, "intermediate_size_mlp": 24, "moe_layers": [0, 3],
    "num_experts_per_tok": 1, "use_qk_norm": False, "no_rope_layers": [1] * 4,
    "model_type": "llama4_text",
}  # fmt: skip
# What a family needs beside SHAPE.
FAMILIES = {
    "qwen3_moe": {},
    "mixtral": {},
    "deepseek_v3": _GROUPS,
    "gpt_oss": {"layer_types": ["sliding_attention", "full_attention"]},
    "nemotron_h": {"hybrid_override_pattern": "*E", "mamba_num_heads": 4, "mamba_head_dim": 8,
                   "mamba_proj_bias": False, "ssm_state_size": 4, "conv_kernel": 3, "n_groups": 1,
                   "layer_norm_epsilon": 1e-6, "use_conv_bias": False,
                   "moe_shared_expert_intermediate_size": 16},
    "olmoe": {"norm_topk_prob": False},
    "granitemoe": {},
    "Klear": {},
    "afmoe": {"layer_types": ["full_attention"] * 2},
    "bailing_moe": {**_OF_BAILING, **_GROUPS},
    "bailing_hybrid": {**_OF_BAILING, **_GROUPS, "layer_group_size": 2, "group_norm_size": 1},
    "bailing_moe_linear": {**_OF_BAILING, **_GROUPS, "layer_group_size": 2, "group_norm_size": 1},
    "bailing_moe_v3": {**_GROUPS, "layer_group_size": 2, "moe_shared_expert_intermediate_size": 16},
    "deepseek": {},
    "deepseek_v2": {**_GROUPS, "topk_method": "group_limited_greedy", "rope_scaling": _YARN},
    "deepseek_v41": {},
    "deepseek_v32": {**_GROUPS, "index_head_dim": 16, "index_n_heads": 2, "index_topk": 8},
    "dots1": {},
    "ernie4_5_moe": {},
    "exaone_moe": {"layer_types": ["full_attention"] * 2, "is_moe_layer": [True] * 2},
    "gemma4_text": {"enable_moe_block": True, "top_k_experts": ACTIVE, "global_head_dim": 8,
                    "layer_types": ["sliding_attention", "full_attention"],
                    "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 0,
                    "num_kv_shared_layers": 0},
    "glm4_moe": {},
    "glm4_moe_lite": {},
    "granitemoehybrid": {"layer_types": ["attention"] * 2},
    "hunyuan": {"use_mixed_mlp_moe": True, "use_cla": False, "cla_share_factor": 2,
                "rope_scaling": {"type": "dynamic", "alpha": 1.0, "factor": 1.0}},
    "jamba": {**_MAMBA, "attn_layer_offset": 0, "attn_layer_period": 2,
              "expert_layer_offset": 0, "expert_layer_period": 1},
    "kimi_linear": {"linear_attn_config": _KIMI, "model_max_length": 64, "num_expert_group": 4,
                    "topk_group": 2},
    "kimi_k3": {"text_config": {**SHAPE, "linear_attn_config": _KIMI, "num_expert_group": 4,
                                "topk_group": 2}},
    "laguna": {"mlp_layer_types": ["sparse"] * 2},
    "lfm2_moe": {"use_expert_bias": True, "norm_eps": 1e-6, "conv_bias": False,
                 "conv_L_cache": 3, "full_attn_idxs": [0]},
    "llama4": {"text_config": {**SHAPE, **_OF_LLAMA4, "num_hidden_layers": 4}},
    "longcat_flash": {"zero_expert_num": 3, "zero_expert_type": "identity",
                      "attention_method": "MLA", "mla_scale_q_lora": True,
                      "mla_scale_kv_lora": True, "moe_topk": 3},
    "mellum": {"layer_types": ["full_attention"] * 2,
               "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "mimo_v2_flash": {"hybrid_layer_pattern": [0, 1], "moe_layer_freq": [1, 1],
                      "add_swa_attention_sink_bias": True, "add_full_attention_sink_bias": False,
                      "sliding_window_size": 8, "topk_method": "noaux_tc",
                      "scoring_func": "sigmoid", "layernorm_epsilon": 1e-6, "swa_rope_theta": 1e4,
                      "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2,
                      "swa_head_dim": 8, "swa_v_head_dim": 8},
    "minimax": {},
    "minimax_m3_vl": {"text_config": {**SHAPE, "moe_layer_freq": [1, 1], "rotary_dim": 4}},
    "mistral4": {"rope_parameters": {**_YARN, "rope_theta": 1e4, "llama_4_scaling_beta": 0.1}},
    "phimoe": {"rope_scaling": {"long_factor": [1.0] * 4, "short_factor": [1.0] * 4,
                                "long_mscale": 1.0, "short_mscale": 1.0, "type": "longrope"}},
    "phixtral": {"num_vocab": VOCABULARY, "model_dim": DIM, "num_heads": 4, "num_layers": 2,
                 "rotary_dim": 4},
    "qwen2_moe": {},
    "qwen3_next": _NEXT,
    "qwen3_5_moe": {"text_config": {**SHAPE, **_NEXT, "model_type": "qwen3_5_moe_text"}},
    "step3p5": {"num_attention_groups": 2, "share_expert_dim": 16, "moe_layers_enum": "0,1"},
}  # fmt: skip


def mixture(family, seed=0, scale=0.3, **settings):
    """A model of mlx-lm whose weights are drawn from a normal distribution."""
    module = mlx_lm(f"models.{family}")
    known = {**SHAPE, "model_type": family, **FAMILIES.get(family, {}), **settings}
    model = module.Model(module.ModelArgs.from_dict(known))
    generator = np.random.default_rng(seed)
    drawn = [
        (name, mx.array(drawn_weight(generator, name, array.shape, scale)))
        for name, array in tree_flatten(model.parameters())
        if mx.issubdtype(array.dtype, mx.floating)
    ]
    model.update(tree_unflatten(drawn))
    model.eval()
    mx.eval(model.parameters())
    return model


def drawn_weight(generator, name, shape, scale):
    drawn = generator.standard_normal(shape).astype("f4")
    return 1 + 0.1 * drawn if "norm" in name else scale * drawn


def loaded(model, **more):
    """What `measure_routing` needs of a loaded model."""
    return SimpleNamespace(name="tiny", model=model, **more)


def rows(count=2, length=20, seed=1):
    drawn = np.random.default_rng(seed).integers(VOCABULARY, size=(count, length + 1))
    return drawn.astype(np.int32)


def layer_of(indices, active=None, experts=5):
    """A layer that gave tokens to experts, without outputs."""
    from mlx_probe.lab.moe.routing import LayerRouting, RouterMeans

    indices = np.asarray(indices, np.int32)
    active = np.ones(indices.shape, bool) if active is None else np.asarray(active)
    none = np.full(experts, np.nan)
    assignments = np.bincount(indices[active], minlength=experts)
    return LayerRouting(
        name="mlp", layer=0, indices=indices, weights=np.ones(indices.shape, "f4"), active=active,
        assignments=assignments, load=assignments / assignments.sum(), mean_weight=none,
        saliency=none, output_norm=none, agreement=none, first_agreement=0.0,
        router=RouterMeans(None, None, None, None),
    )  # fmt: skip

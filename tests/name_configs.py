"""Settings with which `make_names` builds the architectures of transformers and mlx-lm."""

from __future__ import annotations

from typing import Any

# transformers ---------------------------------------------------------------------------------

# What a default configuration lacks to be built.
ROPE = {"rope_type": "default", "rope_theta": 1e4}
ROPES = {"full_attention": ROPE, "sliding_attention": ROPE}
INDEXER = {
    **{"indexer_compress_ratio": 4, "indexer_budget": 64, "indexer_n_heads": 4},
    **{"indexer_kv_heads": 1, "indexer_head_dim": 256},
}
MIXTURE = {"num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 64}
HF_CONFIGS: dict[str, dict[str, Any]] = {
    "AyaVisionForConditionalGeneration": {
        "vision_config": {"model_type": "siglip_vision_model", "num_attention_heads": 16},
    },
    "ChameleonForConditionalGeneration": {"vocabulary_map": {"<image>": 5, "IMGIMGA": 6}},
    "CohereCompassForCausalLM": {"rope_parameters": ROPES},
    "CohereCompassForConditionalGeneration": {"text_config": {"rope_parameters": ROPES}},
    "DbrxForCausalLM": {"attn_config": {"rope_theta": 1e4, "kv_n_heads": 8}},
    "DeepseekOcr2ForConditionalGeneration": {
        "text_config": {"mlp_layer_types": ["dense"] + ["sparse"] * 31},
    },
    "DiffusionGemmaForBlockDiffusion": {"text_config": MIXTURE},
    "Dots1ForCausalLM": {"n_shared_experts": 1, "n_routed_experts": 8},
    "Emu3ForConditionalGeneration": {"vocabulary_map": {"<image>": 5}},
    "EsmForMaskedLM": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 2},
    "Granite4VisionForConditionalGeneration": {
        **{"deepstack_layer_map": [[0, 0]], "downsample_rate": "4/8"},
    },
    "HunYuanDenseV1ForCausalLM": {"head_dim": 128},
    "HunYuanMoEV1ForCausalLM": {"head_dim": 128},
    "HunYuanVLForConditionalGeneration": {"text_config": {"head_dim": 128}},
    "Lfm2MoeForCausalLM": {"layer_types": ["conv", "full_attention"] * 16},
    "MinistralForCausalLM": {"head_dim": 128},
    "MoonshineStreamingForConditionalGeneration": {"num_key_value_heads": 8},
    "NemotronForCausalLM": {"head_dim": 128, "num_key_value_heads": 8},
    "Qwen3OmniMoeForConditionalGeneration": {
        "talker_config": {
            **{"spatial_merge_size": 2, "text_config": {"shared_expert_intermediate_size": 64}},
        },
    },
    "Qwen4ExpForCausalLM": INDEXER,
    "Qwen4ExpForConditionalGeneration": {"text_config": INDEXER},
    "ReformerModelWithLMHead": {"is_decoder": True},
}
# Parts that the default configuration leaves out.
HF_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Gemma4ForCausalLM", {"enable_moe_block": True, **MIXTURE}),
    ("Gemma4ForConditionalGeneration", {"audio_config": {}, "vision_config": {}}),
    ("Qwen2_5OmniForConditionalGeneration", {"enable_audio_output": True}),
    ("DeepseekV2ForCausalLM", {"q_lora_rank": None}),
    ("StableLmForCausalLM", {"qk_layernorm": True}),
)
# mlx-lm ---------------------------------------------------------------------------------------

# Values for the fields of `ModelArgs` that have no default; each model file takes its own.
MLX_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "model_dim", "block_dim"), 64),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers"), 4),
    **dict.fromkeys(("num_transformer_layers",), 4),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "n_inner", "ffn_hidden_size"), 128),
    **dict.fromkeys(("shared_intermediate_size", "intermediate_size_mlp", "block_ff_dim"), 128),
    **dict.fromkeys(("ff_intermediate_size",), 128),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("expert_ffn_hidden_size",), 32),
    **dict.fromkeys(("num_attention_heads", "num_heads", "n_head", "n_heads"), 4),
    **dict.fromkeys(("mamba_num_heads", "linear_num_value_heads", "swa_num_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "n_kv_heads", "n_groups"), 2),
    **dict.fromkeys(("linear_num_key_heads", "index_n_heads", "num_attention_groups"), 2),
    **dict.fromkeys(("swa_num_key_value_heads", "n_group", "num_experts_per_tok", "moe_k"), 2),
    **dict.fromkeys(("moe_topk", "mamba_expand", "num_kv_reuse_layers", "cla_share_factor"), 2),
    **dict.fromkeys(("layer_group_size", "group_norm_size", "full_attention_interval"), 2),
    **dict.fromkeys(("zero_expert_num", "attn_layer_period", "expert_layer_period"), 2),
    **dict.fromkeys(("dense_attention_every_n_layers", "sliding_window_pattern"), 2),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("moe_num_experts", "conv_kernel", "mamba_d_conv", "conv1d_width"), 4),
    **dict.fromkeys(("conv_L_cache", "conv_window", "linear_conv_kernel_dim"), 3),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "num_shared_expert"), 1),
    **dict.fromkeys(("moe_num_shared_experts", "decoder_sparse_step", "topk_group"), 1),
    **dict.fromkeys(("first_k_dense_replace", "num_dense_layers", "attn_layer_offset"), 1),
    **dict.fromkeys(("num_nextn_predict_layers", "expert_layer_offset", "moe_layer_freq"), 1),
    **dict.fromkeys(("moe_layer_start_index",), 1),
    **dict.fromkeys(("head_dim", "v_head_dim", "qk_head_dim", "mamba_head_dim"), 16),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "state_size", "ssm_state_size"), 16),
    **dict.fromkeys(("mamba_d_state", "linear_key_head_dim", "linear_value_head_dim"), 16),
    **dict.fromkeys(("index_head_dim", "swa_head_dim", "swa_v_head_dim"), 16),
    **dict.fromkeys(("a_low_rank_dim", "v_low_rank_dim", "gate_low_rank_dim"), 8),
    **dict.fromkeys(("decay_low_rank_dim", "qk_rope_head_dim", "qk_nope_head_dim"), 8),
    **dict.fromkeys(("time_step_rank", "mamba_dt_rank", "rotary_dim", "block_multiple_of"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "block_size"), 128),
    **dict.fromkeys(("model_max_length", "sliding_window", "sliding_window_size"), 128),
    **dict.fromkeys(("attention_window_size", "vocab_size", "dim_model_base"), 96),
    **dict.fromkeys(("index_topk",), 4),
    **dict.fromkeys(("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps"), 1e-5),
    **dict.fromkeys(("layernorm_epsilon",), 1e-5),
    **dict.fromkeys(("rope_theta", "swa_rope_theta", "rotary_emb_base"), 1e4),
    **dict.fromkeys(("routed_scaling_factor", "embedding_multiplier", "logits_scaling"), 1.0),
    **dict.fromkeys(("attention_multiplier", "residual_multiplier", "scale_depth"), 1.0),
    **dict.fromkeys(("scale_emb", "block_ffn_dim_multiplier", "ffn_dim_divisor"), 1.0),
    **dict.fromkeys(("partial_rotary_factor", "rotary_pct"), 0.5),
    **dict.fromkeys(("attention_bias", "mlp_bias", "use_bias", "use_conv_bias", "conv_bias"), True),
    **dict.fromkeys(("mamba_conv_bias", "mamba_proj_bias", "use_qkv_bias", "qk_norm"), True),
    **dict.fromkeys(("norm_topk_prob", "use_qk_norm", "post_norm", "use_expert_bias"), True),
    **dict.fromkeys(("use_mixed_mlp_moe", "mla_scale_q_lora", "mla_scale_kv_lora"), True),
    **dict.fromkeys(("add_swa_attention_sink_bias", "add_full_attention_sink_bias"), True),
    **dict.fromkeys(("linear_allow_neg_eigval",), True),
    **dict.fromkeys(("tie_word_embeddings", "use_cla", "block_auto_adjust_ff_dim"), False),
    "rope_scaling": None,
    "attention_method": "MLA",
    "zero_expert_type": "identity",
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "hidden_act": "silu",
    "gegelu_limit": 20.0,
    "logits_soft_cap": 30.0,
    "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"},
    "time_step_limit": (0.0, 1.0),
    "time_step_min": 0.001,
    "time_step_max": 0.1,
    "mlp_only_layers": [0],
    "full_attn_idxs": [1, 3],
    "sliding_window_layers": [1],
    "no_rope_layers": [1, 1, 1, 1],
    "is_moe_layer": [False, True, True, True],
    "hybrid_layer_pattern": [0, 1, 0, 1],
    "layer_types": ["linear_attention", "full_attention"] * 2,
}
# Other or further settings that a model file needs.
HALF_SLIDING = ["sliding_attention", "full_attention"] * 2
YARN = {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64}
LONGROPE = {
    "type": "longrope",
    "original_max_position_embeddings": 64,
    **dict.fromkeys(("short_factor", "long_factor"), [1.0] * 4),
}
KDA = {
    "kda_layers": [1, 2, 3],
    "full_attn_layers": [4],
    **{"num_heads": 4, "head_dim": 16, "short_conv_kernel_size": 4, "gate_lower_bound": -5.0},
}
HYBRID = {"layer_types": ["conv", "full_attention"] * 2}
MLX_CONFIGS: dict[str, dict[str, Any]] = {
    "baichuan_m1": {"conv_window": 2},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4},
        "ffn_config": {"ffn_hidden_size": 128, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {"rope_scaling": YARN},
    "exaone4": {"sliding_window_pattern": "LG"},
    "gemma3n": {
        "num_kv_shared_layers": 1,
        "vocab_size_per_layer_input": 96,
        "rope_local_base_freq": 1e4,
        "final_logit_softcapping": 30.0,
        "layer_types": HALF_SLIDING,
        "activation_sparsity_pattern": [0.0] * 4,
        "hidden_size_per_layer_input": 16,
        "altup_num_inputs": 4,
        "altup_coef_clip": 120.0,
        "altup_correct_scale": True,
        "altup_active_idx": 0,
        "laurel_rank": 8,
    },
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention"] * 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 32,
        **{"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 2, "mamba_d_state": 16},
        **{"mamba_d_conv": 4, "mamba_conv_bias": True, "mamba_proj_bias": True},
    },
    "hunyuan": {"rope_scaling": {"type": "dynamic", "factor": 1.0, "alpha": 1000.0}},
    "kimi_k3": {
        "linear_attn_config": KDA,
        **{"num_hidden_layers": 4, "num_experts": 4, "num_shared_experts": 1},
        **{"moe_intermediate_size": 32, "routed_expert_hidden_size": 32, "q_lora_rank": 16},
        **{"kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 16},
        **{"activation_situ_beta": 1.0, "attn_res_block_size": 2, "latent_moe_use_norm": True},
        **{"first_k_dense_replace": 1, "mla_use_output_gate": True},
    },
    "kimi_linear": {
        "linear_attn_config": KDA,
        **{"qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 16},
        **{"num_shared_experts": 1, "first_k_dense_replace": 1},
    },
    "lfm2": {"block_ff_dim": 128, **HYBRID},
    "lfm2_moe": HYBRID,
    "llama4": {
        "attention_chunk_size": 64,
        "interleave_moe_layer_step": 2,
        "num_experts_per_tok": 1,
    },
    "mellum": {"layer_types": HALF_SLIDING, "rope_parameters": ROPES},
    "mimo_v2_flash": {"moe_layer_freq": [0, 1, 1, 1]},
    "minicpm3": {"rope_scaling": LONGROPE},
    "minimax_m3_vl": {
        **{"num_hidden_layers": 4, "num_local_experts": 4, "moe_layer_freq": [0, 1, 1, 1]},
        **{"index_n_heads": 2, "index_head_dim": 16, "index_block_size": 16},
    },
    "ministral3": {
        "rope_parameters": {
            **{"rope_theta": 1e4, "llama_4_scaling_beta": 0.1, "rope_type": "default"},
            "original_max_position_embeddings": 64,
        },
    },
    "muse_spark": {
        **{"post_norm_eps": 1e-5, "layer_rope_theta": [1e4, 1e4, 1e4, 0.0]},
        **{"layer_types": HALF_SLIDING, "final_logit_softcapping": 30.0},
        **{"output_multiplier": 1.0, "moe_hidden_size": 32, "vision_config": {"depth": 2}},
    },
    "nemotron-nas": {
        "num_hidden_layers": 3,
        "block_configs": [
            {"attention": {"n_heads_in_group": 8}, "ffn": {"ffn_mult": 2.0}},
            {"attention": {"replace_with_linear": True}, "ffn": {"no_op": True}},
            {"attention": {"no_op": True}, "ffn": {"replace_with_linear": True}},
        ],
    },
    "nemotron_h": {
        "layers_block_type": ["mamba", "attention", "mlp", "moe"],
        **{"moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 32},
        **{"n_group": 1, "topk_group": 1, "n_routed_experts": 4, "n_shared_experts": 1},
        **{"num_experts_per_tok": 2, "moe_latent_size": 32},
    },
    "openelm": {
        **{"num_query_heads": [4] * 4, "num_kv_heads": [2] * 4, "ffn_multipliers": [2.0] * 4},
    },
    "qwen3": {"rope_theta": 1e4},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "spark2_5": {"layer_types": HALF_SLIDING, "rope_parameters": ROPES},
}
# The text model inside a multimodal one, where its ModelArgs does not build it by itself.
MLX_TEXT_MODELS = {
    **{"gemma3": "gemma3_text", "kimi_k25": "deepseek_v3", "kimi_vl": "deepseek_v3"},
    **{"lfm2-vl": "lfm2", "llama4": "llama4.TextArgs", "mistral3": "llama", "pixtral": "llama"},
    **{"qwen2_vl": "qwen2", "qwen3_vl": "qwen3", "qwen3_vl_moe": "qwen3_moe"},
    **{"gemma3n": "gemma3n.TextConfig", "kimi_k3": "kimi_k3.TextArgs"},
    **{"minimax_m3_vl": "minimax_m3_vl.TextArgs", "muse_spark": "muse_spark.TextArgs"},
}

"""Write the golden tables of tensor names of transformers and mlx-lm; run by hand.

    python tests/make_names.py transformers   # with torch and transformers installed
    python tests/make_names.py mlx_lm         # with mlx-lm installed
    python tests/make_names.py gguf           # with gguf installed

The first builds every architecture that transformers registers for text generation (decoders,
encoder-decoders, vision, audio) or masked language modelling, from its default configuration
on the meta device, and lists its names as they are in memory and as ``save_pretrained`` writes
them. The second builds every model file of mlx-lm with a few small layers; arrays that are
never evaluated cost nothing.

A line of a table is ``name<TAB>block_type<TAB>component``, where ``<layer>`` and ``<expert>``
in the name stand for any number: they are put there from the position in the tree of modules
(a list of modules that are themselves composed is a stack of layers), never by the code under
test. Each name is listed under the first architecture that has it. Block type and component are
proposals of `classify`, to be read by a human before they are committed: the diff of a table
is the review.

Left out with the versions of the tables' first lines: Gemma3n, FastVlm and PerceptionLM with
vision towers of timm, Gemma 4's assistants (they refuse their default configuration), of mlx-lm
olmo (needs ai2-olmo) and prism_hadamard_qwen35 (needs the list of its packed modules).
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from mlx_probe.checkpoint.naming.classify import classify

TABLES = Path(__file__).parent / "data" / "names" / "generated"

# Lists of composed modules that are no stack of layers.
NO_LAYERS = {
    *("deepstack_merger_list", "deepstack_mergers", "merger_list", "layerwise_projectors"),
    *("spatial_projectors", "rotary_embs", "embed_tokens", "biases", "lm_heads", "codec_embedding"),
    *("lm_head", "up", "down", "ups", "attn", "attn_norms", "time_conv", "time_res_stack", "convs"),
    *("upsample", "decoder", "mlp", "stage", "attn_queries", "mlp_queries", "activations"),
    "conv",
}


def marked(name: str, layers: Iterable[str], experts: Iterable[str]) -> str:
    """Put ``<layer>`` and ``<expert>`` in place of the index in the outermost such list."""
    for kind, lists in (("expert", experts), ("layer", layers)):
        owner = min((p for p in lists if name.startswith(f"{p}.")), key=len, default=None)
        if owner is not None:
            rest = name[len(owner) + 1 :].split(".", 1)
            rest[0] = re.sub(r"^(expert_)?\d+$", rf"\g<1><{kind}>", rest[0])
            name = ".".join((owner, *rest))
    return name


def folded(names: Iterable[str]) -> list[str]:
    """Of codebooks, convolutions and other lists, keep the numbers 0 and 1."""
    kept = dict.fromkeys(names)
    twice = {re.sub(r"(?<=\.)\d+(?=\.|$)", "#", n) for n in kept if re.search(r"\.1(\.|$)", n)}
    return [
        name
        for name in kept
        if not (
            re.search(r"\.([2-9]|\d\d+)(\.|$)", name)
            and re.sub(r"(?<=\.)\d+(?=\.|$)", "#", name) in twice
        )
    ]


def example(name: str) -> str:
    return name.replace("<layer>", "11").replace("<expert>", "3")


def write(family: str, title: str, sections: Iterable[tuple[str, list[str]]]) -> None:
    seen: set[str] = set()
    lines = [f"# {title}", "# name block_type component; each name under the first that has it"]
    for architecture, names in sections:
        fresh = sorted({name for name in names if name not in seen})
        seen.update(fresh)
        lines.append(f"## {architecture}: {len(set(names))} names, {len(fresh)} of them first here")
        for name in fresh:
            role = classify(example(name))
            lines.append(f"{name}\t{role.block_type}\t{role.component}")
    (TABLES / f"{family}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


# transformers ---------------------------------------------------------------------------------

MAPPINGS = (
    "CAUSAL_LM",
    "SEQ_TO_SEQ_CAUSAL_LM",
    "IMAGE_TEXT_TO_TEXT",
    "SPEECH_SEQ_2_SEQ",
    "MULTIMODAL_LM",
    "MASKED_LM",
)
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
)


def transformers_sections() -> Iterator[tuple[str, list[str]]]:
    from transformers.models.auto import modeling_auto

    registered = dict.fromkeys(
        name
        for mapping in MAPPINGS
        for name in getattr(modeling_auto, f"MODEL_FOR_{mapping}_MAPPING_NAMES").values()
    )
    for architecture in registered:
        yield from transformers_section(architecture, HF_CONFIGS.get(architecture, {}))
    for architecture, options in HF_OPTIONS:
        yield from transformers_section(architecture, options, f" with {', '.join(options)}")


def transformers_section(
    architecture: str, options: dict[str, Any], label: str = ""
) -> Iterator[tuple[str, list[str]]]:
    import torch
    import transformers

    build = getattr(transformers, architecture)
    try:
        with torch.device("meta"):
            model = build(build.config_class(**options))
    except Exception as error:
        print("left out:", architecture, type(error).__name__, str(error)[:100])
        return
    yield architecture + label, folded((*in_memory(model), *as_saved(model)))


def module_lists(model: Any) -> tuple[list[str], list[str]]:
    """Paths of the stacks of layers and of experts in a torch model."""
    import torch.nn as nn

    layers, experts = [], []
    for path, module in model.named_modules():
        # A list of lists goes by the name of the outer one.
        attribute = re.sub(r"(\.\d+)+$", "", path).rpartition(".")[2]
        if type(module).__name__.endswith("Experts") or attribute == "experts":
            experts.append(path)
        elif attribute not in NO_LAYERS and isinstance(module, (nn.ModuleList, nn.Sequential)):
            composed = any(any(child.children()) for child in module)
            if "layer" in attribute or (composed and isinstance(module, nn.ModuleList)):
                layers.append(path)
    return layers, experts


def in_memory(model: Any) -> list[str]:
    layers, experts = module_lists(model)
    return [marked(name, layers, experts) for name in all_tensors(model)]


def all_tensors(model: Any) -> dict[str, Any]:
    return {**dict(model.named_buffers()), **model.state_dict()}


def as_saved(model: Any) -> Iterator[str]:
    """Names that save_pretrained writes, where they differ from those in memory.

    One layer at a time is converted: so its number in the new names is known.
    """
    from transformers.core_model_loading import revert_weight_conversion

    layers, experts = module_lists(model)
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for name, tensor in model.state_dict().items():
        owner = min((p for p in layers if name.startswith(f"{p}.")), key=len, default="")
        index = name[len(owner) + 1 :].split(".", 1)[0] if owner else ""
        groups.setdefault((owner, index), {})[name] = tensor
    kinds = {}
    for (owner, index), group in groups.items():
        kinds[owner, frozenset(marked(name, layers, experts) for name in group)] = index, group
    for (owner, _), (index, group) in kinds.items():
        for name in revert_weight_conversion(model, group):
            if name not in group:
                yield saved_mark(name, owner, index)


def saved_mark(name: str, owner: str, index: str) -> str:
    """Mark the layer, known from the stack it was in, and behind it an expert's number."""
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    # As many numbers come before it as in the path of its stack.
    at = next(iter(numbers[sum(part.isdigit() for part in owner.split(".")) :]), 0)
    if index and parts[at] == index and parts[at - 1] not in NO_LAYERS:
        parts[at] = "<layer>"
        for i in numbers[numbers.index(at) + 1 :]:
            if parts[i - 1] == "experts":
                parts[i] = "<expert>"
    return ".".join(parts)


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


def mlx_config(model_file: str, arguments: str = "ModelArgs") -> dict[str, Any]:
    """A small config.json of a model file of mlx-lm."""
    module = importlib.import_module(f"mlx_lm.models.{model_file}")
    config = {
        field.name: MLX_FIELDS[field.name]
        for field in dataclasses.fields(getattr(module, arguments))
        if field.default is field.default_factory is dataclasses.MISSING
        and field.name in MLX_FIELDS
    }
    config |= MLX_CONFIGS.get(model_file, {}) | {"model_type": model_file}
    if arguments == "ModelArgs" and model_file in MLX_TEXT_MODELS:
        config["text_config"] = mlx_config(*MLX_TEXT_MODELS[model_file].split("."))
    return config


def mlx_sections() -> Iterator[tuple[str, list[str]]]:
    import mlx_lm.models

    for path in sorted(Path(next(iter(mlx_lm.models.__path__))).glob("*.py")):
        try:
            module = importlib.import_module(f"mlx_lm.models.{path.stem}")
        except (ImportError, SystemExit) as error:
            print("left out:", path.stem, error)
            continue
        if not hasattr(module, "Model"):
            continue
        try:
            model = module.Model(module.ModelArgs.from_dict(mlx_config(path.stem)))
        except Exception as error:
            print("left out:", path.stem, type(error).__name__, str(error)[:100])
            continue
        yield path.stem, folded(mlx_names(model))


def mlx_names(model: Any) -> list[str]:
    tree_flatten = importlib.import_module("mlx.utils").tree_flatten
    lists = list(mlx_lists(model))
    experts = [path for path in lists if path.endswith(".experts")]
    layers = [path for path in lists if path.rpartition(".")[2] not in {*NO_LAYERS, "experts"}]
    return [marked(name, layers, experts) for name, _ in tree_flatten(model.parameters())]


def mlx_lists(module: Any, path: str = "") -> Iterator[str]:
    """Paths of the lists of composed modules in an MLX model."""
    nn: Any = importlib.import_module("mlx.nn")
    for name, value in module.items():
        here = f"{path}.{name}".lstrip(".")
        if isinstance(value, nn.Module):
            yield from mlx_lists(value, here)
        elif isinstance(value, list):
            modules = {i: v for i, v in enumerate(value) if isinstance(v, nn.Module)}
            if any(v.children() or "mlx.nn" not in type(v).__module__ for v in modules.values()):
                yield here
            for i, v in modules.items():
                yield from mlx_lists(v, f"{here}.{i}")


# GGUF -----------------------------------------------------------------------------------------

# Numbered in GGUF like layers: convolutions in front, projectors.
GGUF_NO_LAYERS = re.compile(r"(a\.conv[12]d|mm(\.\w+)*|v\.deepstack|v\.sam\.neck)\.\{bid\}")


def gguf_sections() -> Iterator[tuple[str, list[str]]]:
    from gguf.constants import MODEL_ARCH, MODEL_TENSORS, TENSOR_NAMES

    for architecture in MODEL_ARCH:
        patterns = (TENSOR_NAMES[tensor] for tensor in MODEL_TENSORS.get(architecture, ()))
        yield (
            architecture.name,
            [
                f"{GGUF_NO_LAYERS.sub(lambda m: m[0].format(bid=1), pattern)}.weight".format(
                    bid="<layer>", xid="<expert>"
                )
                for pattern in patterns
            ],
        )


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    for family in sys.argv[1:]:
        version = importlib.metadata.version(family)
        title = f"{family} {version}; written by make_names.py, reviewed by hand"
        write(family, title, SECTIONS[family]())


SECTIONS: dict[str, Callable[[], Iterator[tuple[str, list[str]]]]] = {
    "transformers": transformers_sections,
    "mlx_lm": mlx_sections,
    "gguf": gguf_sections,
}

if __name__ == "__main__":
    main()

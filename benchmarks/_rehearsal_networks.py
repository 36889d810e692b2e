"""Networks of hundreds of billions of parameters beside DeepSeek-V3, as they are published.

Checked against what is publicly known of the repositories: the numbers of files and of elements,
all tensors of Qwen3's first file. Not known: which tensors the other files end with. Here each
ends before it has more than 4 or 5 GB, which gives the published numbers of files.
"""

from __future__ import annotations

from _checkpoints import Shape
from _rehearsal_models import Model, Tensors

__all__ = ["gpt_oss", "llama", "qwen"]


def qwen() -> Model:
    """Qwen3-235B-A22B, in bfloat16."""
    layers, hidden, width, experts, vocabulary = 94, 4096, 1536, 128, 151936
    shapes: dict[str, Shape] = {"model.embed_tokens": (vocabulary, hidden)}
    for layer in range(layers):
        block = f"model.layers.{layer}"
        wide, narrow = 64 * 128, 4 * 128
        shapes |= {
            f"{block}.self_attn.q_proj": (wide, hidden),
            f"{block}.self_attn.k_proj": (narrow, hidden),
            f"{block}.self_attn.v_proj": (narrow, hidden),
            f"{block}.self_attn.o_proj": (hidden, wide),
            f"{block}.self_attn.q_norm": (128,),
            f"{block}.self_attn.k_norm": (128,),
        }
        for expert in range(experts):
            shapes |= {
                f"{block}.mlp.experts.{expert}.gate_proj": (width, hidden),
                f"{block}.mlp.experts.{expert}.up_proj": (width, hidden),
                f"{block}.mlp.experts.{expert}.down_proj": (hidden, width),
            }
        shapes |= {
            f"{block}.mlp.gate": (experts, hidden),
            f"{block}.input_layernorm": (hidden,),
            f"{block}.post_attention_layernorm": (hidden,),
        }
    shapes |= {"model.norm": (hidden,), "lm_head": (vocabulary, hidden)}
    config = {
        "architectures": ["Qwen3MoeForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "decoder_sparse_step": 1,
        "eos_token_id": 151645,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": 12288,
        "max_position_embeddings": 40960,
        "max_window_layers": layers,
        "mlp_only_layers": [],
        "model_type": "qwen3_moe",
        "moe_intermediate_size": width,
        "norm_topk_prob": True,
        "num_attention_heads": 64,
        "num_experts": experts,
        "num_experts_per_tok": 8,
        "num_hidden_layers": layers,
        "num_key_value_heads": 4,
        "output_router_logits": False,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.001,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.0",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": vocabulary,
    }
    return Model("Qwen/Qwen3-235B-A22B", config, [_bfloat16(shapes)], 4e9)


def llama() -> Model:
    """Llama-3.1-405B, in bfloat16."""
    layers, hidden, width, vocabulary = 126, 16384, 53248, 128256
    shapes: dict[str, Shape] = {"model.embed_tokens": (vocabulary, hidden)}
    for layer in range(layers):
        block = f"model.layers.{layer}"
        shapes |= {
            f"{block}.self_attn.q_proj": (hidden, hidden),
            f"{block}.self_attn.k_proj": (8 * 128, hidden),
            f"{block}.self_attn.v_proj": (8 * 128, hidden),
            f"{block}.self_attn.o_proj": (hidden, hidden),
            f"{block}.mlp.gate_proj": (width, hidden),
            f"{block}.mlp.up_proj": (width, hidden),
            f"{block}.mlp.down_proj": (hidden, width),
            f"{block}.input_layernorm": (hidden,),
            f"{block}.post_attention_layernorm": (hidden,),
        }
    shapes |= {"model.norm": (hidden,), "lm_head": (vocabulary, hidden)}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 128000,
        "eos_token_id": 128001,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": width,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 128,
        "num_hidden_layers": layers,
        "num_key_value_heads": 8,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "factor": 8.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.43.3",
        "use_cache": True,
        "vocab_size": vocabulary,
    }
    return Model("meta-llama/Llama-3.1-405B", config, [_bfloat16(shapes)], 5e9)


def gpt_oss() -> Model:
    """gpt-oss-120b, experts in MXFP4."""
    layers, hidden, experts, vocabulary = 36, 2880, 128, 201088
    wide, narrow, groups = 64 * 64, 8 * 64, hidden // 32
    tensors = _bfloat16({"model.embed_tokens": (vocabulary, hidden)})
    for layer in range(layers):
        block = f"model.layers.{layer}"
        tensors |= _bfloat16({f"{block}.input_layernorm": (hidden,)})
        shapes = {"q": (wide, hidden), "k": (narrow, hidden), "v": (narrow, hidden)}
        for kind, shape in (shapes | {"o": (hidden, wide)}).items():
            name = f"{block}.self_attn.{kind}_proj"
            tensors |= {f"{name}.weight": ("BF16", shape), f"{name}.bias": ("BF16", shape[:1])}
        tensors |= {
            f"{block}.self_attn.sinks": ("BF16", (64,)),
            f"{block}.mlp.router.weight": ("BF16", (experts, hidden)),
            f"{block}.mlp.router.bias": ("BF16", (experts,)),
        }
        for kind, rows in (("gate_up_proj", 2 * hidden), ("down_proj", hidden)):
            name = f"{block}.mlp.experts.{kind}"
            tensors |= {
                f"{name}_bias": ("BF16", (experts, rows)),
                f"{name}_blocks": ("U8", (experts, rows, groups, 16)),
                f"{name}_scales": ("U8", (experts, rows, groups)),
            }
        tensors |= _bfloat16({f"{block}.post_attention_layernorm": (hidden,)})
    tensors |= _bfloat16({"model.norm": (hidden,), "lm_head": (vocabulary, hidden)})
    config = {
        "architectures": ["GptOssForCausalLM"],
        "attention_bias": True,
        "attention_dropout": 0.0,
        "eos_token_id": 200002,
        "experts_per_token": 4,
        "head_dim": 64,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initial_context_length": 4096,
        "initializer_range": 0.02,
        "intermediate_size": hidden,
        "layer_types": ["sliding_attention", "full_attention"] * (layers // 2),
        "max_position_embeddings": 131072,
        "model_type": "gpt_oss",
        "num_attention_heads": 64,
        "num_experts_per_tok": 4,
        "num_hidden_layers": layers,
        "num_key_value_heads": 8,
        "num_local_experts": experts,
        "output_router_logits": False,
        "pad_token_id": 199999,
        "quantization_config": {
            "modules_to_not_convert": [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
            "quant_method": "mxfp4",
        },
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "factor": 32.0,
            "original_max_position_embeddings": 4096,
            "rope_type": "yarn",
            "truncate": False,
        },
        "rope_theta": 150000,
        "router_aux_loss_coef": 0.9,
        "sliding_window": 128,
        "swiglu_limit": 7.0,
        "tie_word_embeddings": False,
        "transformers_version": "4.55.0.dev0",
        "use_cache": True,
        "vocab_size": vocabulary,
    }
    return Model("openai/gpt-oss-120b", config, [tensors], 5e9, first=0)


def _bfloat16(shapes: dict[str, Shape]) -> Tensors:
    return {f"{name}.weight": ("BF16", shape) for name, shape in shapes.items()}

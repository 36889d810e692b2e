"""Qwen3's mixtures of experts."""

from __future__ import annotations

from mlx_probe.lab.export.gguf.architectures.architecture import (
    ATTENTION,
    Architecture,
    Config,
    Metadata,
)
from mlx_probe.lab.export.gguf.architectures.qwen3 import QK_NORM
from mlx_probe.lab.export.gguf.shape import Shape

__all__ = ["QWEN3_MOE"]

_EXPERTS = {
    "post_attention_layernorm.weight": ("ffn_norm.weight", ("dim",)),
    "mlp.gate.weight": ("ffn_gate_inp.weight", ("experts", "dim")),
    "mlp.experts.*.gate_proj.weight": (
        "ffn_gate_exps.weight",
        ("experts", "expert_hidden", "dim"),
    ),
    "mlp.experts.*.up_proj.weight": ("ffn_up_exps.weight", ("experts", "expert_hidden", "dim")),
    "mlp.experts.*.down_proj.weight": ("ffn_down_exps.weight", ("experts", "dim", "expert_hidden")),
}


def _metadata(config: Config, shape: Shape) -> Metadata:
    return {
        "expert_count": shape.experts,
        "expert_used_count": int(config.get("num_experts_per_tok", 8)),
        "expert_feed_forward_length": shape.expert_hidden,
    }


QWEN3_MOE = Architecture(
    "qwen3moe",
    ATTENTION | QK_NORM | _EXPERTS,
    allowed={
        # Every layer has experts.
        "decoder_sparse_step": (1,),
        "mlp_only_layers": ([], None),
        # llama.cpp divides the chosen experts' weights by their sum; Qwen3MoeConfig's own
        # value is false.
        "norm_topk_prob": (True,),
    },
    defaults={
        "num_experts": 128,
        "moe_intermediate_size": 768,
        "num_key_value_heads": 4,
        "norm_topk_prob": False,
    },
    metadata=_metadata,
)

"""The stock mixtures that a dense model can become: the same attention, experts in place of blocks.

A mixture of another family is one entry in `STOCKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["DYNAMIC", "STOCKS", "Stock", "is_mixture"]

# model_type of a mixture with dynamic gates, which is none of the stock ones.
DYNAMIC = "mlx_probe_dynamic_moe"

# What a mixture's config.json calls the number of its experts.
_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


@dataclass(frozen=True)
class Stock:
    """A mixture that mlx-lm and transformers know.

    Attributes:
        model_type: Its name in config.json.
        architecture: The class of transformers.
        block: Where a layer has its mixture.
        matrices: The names of gate, up and down projection of an expert.
        norms: Norms of queries and keys, which the attention has beside its projections.
        tied: Whether the output head may be the embedding: otherwise it is written out.
        own_head_dim: Whether heads may be of another width than hidden size / heads.
        unused: Keys of the dense model's config.json that mean nothing here.
        sizes: Entries of config.json for experts, their width, and how many are active.
    """

    model_type: str
    architecture: str
    block: str
    matrices: tuple[str, str, str]
    norms: tuple[str, ...]
    tied: bool
    own_head_dim: bool
    unused: tuple[str, ...]
    sizes: Callable[[int, int, int], Mapping[str, Any]]

    def router(self, layer: int) -> str:
        """Name of a layer's router, (experts, dim)."""
        return f"model.layers.{layer}.{self.block}.gate.weight"

    def expert(self, layer: int, expert: int, matrix: int) -> str:
        """Name of a matrix of an expert: 0 for gate, 1 for up, 2 for down."""
        return f"model.layers.{layer}.{self.block}.experts.{expert}.{self.matrices[matrix]}.weight"


def _mixtral(experts: int, width: int, active: int) -> dict[str, Any]:
    return {
        "num_local_experts": experts,
        "num_experts_per_tok": active,
        "intermediate_size": width,
        "output_router_logits": False,
        "router_jitter_noise": 0.0,
        "sliding_window": None,
        # mlx-lm's class wants an explicit lm_head.
        "tie_word_embeddings": False,
    }


def _qwen3_moe(experts: int, width: int, active: int) -> dict[str, Any]:
    return {
        "num_experts": experts,
        "num_experts_per_tok": active,
        "moe_intermediate_size": width,
        "norm_topk_prob": True,
        # Every layer is a mixture.
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "output_router_logits": False,
        "use_sliding_window": False,
        "sliding_window": None,
    }


# By the model_type of the dense model. `mixtral` always divides by the sum of the active gates,
# `qwen3_moe` where norm_topk_prob says so.
STOCKS: Mapping[str, Stock] = {
    "llama": Stock(
        model_type="mixtral",
        architecture="MixtralForCausalLM",
        block="block_sparse_moe",
        matrices=("w1", "w3", "w2"),
        norms=(),
        tied=False,
        own_head_dim=False,
        unused=("attention_bias", "mlp_bias", "pretraining_tp"),
        sizes=_mixtral,
    ),
    "qwen3": Stock(
        model_type="qwen3_moe",
        architecture="Qwen3MoeForCausalLM",
        block="mlp",
        matrices=("gate_proj", "up_proj", "down_proj"),
        norms=("q_norm", "k_norm"),
        tied=True,
        own_head_dim=True,
        unused=("layer_types", "max_window_layers", "mlp_bias"),
        sizes=_qwen3_moe,
    ),
}


def is_mixture(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is that of a mixture."""
    counts = (config.get(key) for key in _COUNTS)
    return any(isinstance(count, int) and count > 1 for count in counts)

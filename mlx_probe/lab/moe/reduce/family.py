"""The families of mixtures whose experts can be taken out of their files.

A new family is one entry in `REDUCIBLE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["REDUCIBLE", "Family"]


@dataclass(frozen=True)
class Family:
    """Where a family's checkpoints have experts and routers, and what config.json calls them.

    Attributes:
        block: Where a layer has its mixture, below ``model.layers.N.``.
        router: Beginning of the names of the router below the block. All its tensors have one line
            for each expert along their first axis.
        count: Key of config.json for the number of experts.
        active: Its key for experts of a token.
        stacked: Beginnings of the names of tensors with all experts along their first axis. Tensors
            of one expert are called ``experts.E.``.
        beside: Beginnings of the names of what stays.
    """

    block: str
    router: str
    count: str
    active: str = "num_experts_per_tok"
    stacked: tuple[str, ...] = ("switch_mlp.",)
    beside: tuple[str, ...] = ()


# By the model_type. `switch_mlp` is what mlx-lm calls the experts in files that it wrote.
REDUCIBLE: Mapping[str, Family] = {
    "mixtral": Family("block_sparse_moe", "gate.", "num_local_experts"),
    "qwen3_moe": Family("mlp", "gate.", "num_experts"),
    "qwen2_moe": Family(
        "mlp", "gate.", "num_experts", beside=("shared_expert.", "shared_expert_gate.")
    ),
    "olmoe": Family("mlp", "gate.", "num_experts"),
    "granitemoe": Family(
        "block_sparse_moe",
        "router.",
        "num_local_experts",
        stacked=("switch_mlp.", "input_linear.", "output_linear."),
    ),
    "gpt_oss": Family("mlp", "router.", "num_local_experts", stacked=("experts.",)),
    "deepseek_v3": Family("mlp", "gate.", "n_routed_experts", beside=("shared_experts.",)),
}

"""What the columns of a mixture's tables are called where they are read, by the column's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from mlx_probe.core.records import Column

__all__ = ["EXPERT_TITLES", "LAYER_TITLES", "titled"]

_PLACE = {"layer_index": "Layer", "component": "Component", "stack": "Stack of blocks"}
_STATUS = {"status": "Status", "status_reason": "Reason"}
EXPERT_TITLES: Mapping[str, str] = {
    **_PLACE,
    **_STATUS,
    "expert_index": "Expert",
    "width": "Hidden units",
    "parameters": "Parameters",
    "norm": "Norm",
    "norm_ratio": "Norm, relative",
    "dead": "Dead",
    "dead_matrix": "Dead matrix",
    "gate_norm": "Norm: gate",
    "gate_spectral_norm": "Spectral norm: gate",
    "gate_stable_rank": "Stable rank: gate",
    "gate_effective_rank": "Effective rank: gate",
    "up_norm": "Norm: up",
    "up_spectral_norm": "Spectral norm: up",
    "up_stable_rank": "Stable rank: up",
    "up_effective_rank": "Effective rank: up",
    "down_norm": "Norm: down",
    "down_spectral_norm": "Spectral norm: down",
    "down_stable_rank": "Stable rank: down",
    "down_effective_rank": "Effective rank: down",
    "gate_up_norm": "Norm: gate and up",
    "gate_up_spectral_norm": "Spectral norm: gate and up",
    "gate_up_stable_rank": "Stable rank: gate and up",
    "gate_up_effective_rank": "Effective rank: gate and up",
    "copy_of": "Copy of",
    "reordered": "Copy in another order",
    "merged_first": "Merged from, first",
    "merged_second": "Merged from, second",
    "merged_share": "Share of the first",
    "merged_residual": "Remainder of the merge",
    "nearest_expert": "Nearest expert",
    "nearest_cosine": "Likeness to the nearest",
    "mean_cosine": "Mean likeness",
    "aligned_expert": "Expert of like sum",
    "aligned_cosine": "Likeness, units matched",
    "nearest_overlap_expert": "Expert of largest overlap",
    "nearest_overlap": "Largest overlap",
    "mean_overlap": "Mean overlap",
    "chance_overlap": "Overlap by chance",
    "router_norm": "Norm of the router's row",
    "router_norm_ratio": "Norm of the row, relative",
    "router_closest_expert": "Expert of the closest row",
    "router_closest_cosine": "Cosine with the closest row",
    "router_mean_cosine": "Mean cosine of the row",
    "always_chosen": "Always chosen",
    "never_chosen": "Never chosen",
}
LAYER_TITLES: Mapping[str, str] = {
    **_PLACE,
    **_STATUS,
    "experts": "Experts",
    "active": "Experts of a token",
    "width": "Hidden units",
    "dead": "Dead experts",
    "copies": "Copies",
    "merged": "Merged experts",
    "order_reason": "Why only the stored order",
    "mean_cosine": "Mean likeness",
    "max_cosine": "Largest likeness",
    "mean_overlap": "Mean overlap",
    "max_overlap": "Largest overlap",
    "router_spectral_norm": "Spectral norm of the router",
    "router_stable_rank": "Stable rank of the router",
    "router_effective_rank": "Effective rank of the router",
    "router_max_norm_ratio": "Largest row, relative",
    "router_mean_cosine": "Mean cosine of rows",
    "router_max_cosine": "Largest cosine of rows",
    "preferred_expert": "Preferred expert",
    "always_chosen": "Always chosen",
    "never_chosen": "Never chosen",
}


def titled(columns: Iterable[Column], titles: Mapping[str, str]) -> tuple[Column, ...]:
    """Columns with their titles.

    Raises:
        KeyError: A column has none.
    """
    return tuple(replace(column, title=titles[column.name]) for column in columns)

"""The experts of a mixture, side by side."""

from __future__ import annotations

from mlx_probe.analysis.side_tables.experts.columns import EXPERT_COLUMNS
from mlx_probe.analysis.side_tables.side import Side
from mlx_probe.core.deferred import deferred

__all__ = ["EXPERTS"]

EXPERTS = Side(
    key="experts",
    title="Experts",
    about=(
        "a row for each expert and matrix kind of a mixture. All experts of one layer and kind "
        "are compared with one another."
    ),
    columns=EXPERT_COLUMNS,
    parts=deferred("mlx_probe.analysis.side_tables.experts.rows", "plan_parts"),
    divided=True,
    shown=(
        *("layer_index", "block_type", "expert_index", "param_name", "norm_ratio", "dead"),
        *("duplicate_of", "nearest_expert", "nearest_cosine", "mean_cosine", "nearest_overlap"),
        *("chance_overlap", "router_norm"),
    ),
    map_rows="expert_index",
    group="block_type",
    profile=("nearest_cosine",),
)

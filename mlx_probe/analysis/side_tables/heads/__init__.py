"""Spectra of attention heads."""

from __future__ import annotations

from mlx_probe.analysis.side_tables.heads.columns import HEAD_COLUMNS
from mlx_probe.analysis.side_tables.side import Side
from mlx_probe.core.deferred import deferred

__all__ = ["HEADS"]

HEADS = Side(
    key="heads",
    title="Attention heads",
    about=(
        "two rows for each query head, one for each of its circuits: W_q^T W_k (qk) and W_o W_v "
        "(ov). Biases, scales and rotary embeddings are not included. `left_out` names what else "
        "the model does between the two matrices, `qk_norm` marks normed queries or keys."
    ),
    columns=HEAD_COLUMNS,
    parts=deferred("mlx_probe.analysis.side_tables.heads.rows", "plan_parts"),
    shown=(
        *("layer_index", "circuit", "head_index", "kv_head_index", "status", "rank"),
        *("spectral_norm", "stable_rank", "effective_rank", "top1_energy", "condition_number"),
        "left_out",
    ),
    map_rows="head_index",
    group="circuit",
    profile=("stable_rank",),
)

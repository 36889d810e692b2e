"""Columns of the table of experts."""

from __future__ import annotations

from mlx_probe.core.records import Column

__all__ = ["DEAD_SHARE", "DUPLICATE", "EXPERT_COLUMNS"]

# Norm, as a share of the group's median, below which an expert is dead.
DEAD_SHARE = 0.01
# Cosine above which two experts count as one.
DUPLICATE = 1 - 1e-6

_EXPERT = "Number of the other expert"
EXPERT_COLUMNS: tuple[Column, ...] = (
    Column("layer_index", "int64", "identity", "Number of the block, counted from 0.", lower=0),
    Column("component", "string", "identity", "Place in the network: moe or mtp.", required=True),
    Column(
        "block_type",
        "string",
        "identity",
        "Matrix kind: gate_proj, up_proj, down_proj, or gate_up_proj if the two "
        "cannot be separated.",
        required=True,
    ),
    Column(
        "expert_index",
        "int64",
        "identity",
        "Number of the expert inside its block, counted from 0.",
        lower=0,
        required=True,
    ),
    Column("param_name", "string", "identity", "Name of the tensor in the file.", required=True),
    Column("part", "string", "identity", "Part of a fused matrix; null for whole weights."),
    Column("rows", "int64", "identity", "Rows of the expert's matrix.", lower=0),
    Column("cols", "int64", "identity", "Columns of the expert's matrix.", lower=0),
    Column("expert_count", "int64", "identity", "Experts that this one is compared with.", lower=0),
    Column("status", "string", "run", "ok, nonfinite or skipped.", required=True),
    Column("status_reason", "string", "run", "Why the status is not ok; null if it is."),
    Column("norm", "float64", "norms", "Frobenius norm.", unit="weight", lower=0),
    Column("norm_ratio", "float64", "norms", "Norm over the median norm of the group.", lower=0),
    Column(
        "dead",
        "bool",
        "norms",
        f"Whether the norm is 0, or below {DEAD_SHARE:g} of the group's median.",
    ),
    Column(
        "duplicate_of",
        "int64",
        "similarity",
        "First earlier expert that this one copies, up to scale: cosine above 1 - 1e-6, or both "
        "zero.",
        lower=0,
    ),
    Column("nearest_expert", "int64", "similarity", f"{_EXPERT} with the largest cosine.", lower=0),
    Column(
        "nearest_cosine",
        "float64",
        "similarity",
        "Cosine of the flattened weights with the nearest expert's.",
        lower=-1,
        upper=1,
    ),
    Column(
        "mean_cosine",
        "float64",
        "similarity",
        "Mean cosine with all other experts.",
        lower=-1,
        upper=1,
    ),
    Column(
        "subspace_dim",
        "int64",
        "subspaces",
        "Leading singular vectors, on the residual stream's side, that are compared; null where "
        "the memory budget cannot hold one expert.",
        lower=1,
    ),
    Column(
        "nearest_overlap_expert",
        "int64",
        "subspaces",
        f"{_EXPERT} with the largest overlap of leading subspaces.",
        lower=0,
    ),
    Column(
        "nearest_overlap",
        "float64",
        "subspaces",
        "Overlap with that expert: mean squared cosine of the principal angles.",
        lower=0,
        upper=1,
    ),
    Column(
        "mean_overlap",
        "float64",
        "subspaces",
        "Mean overlap with all other experts.",
        lower=0,
        upper=1,
    ),
    Column(
        "chance_overlap",
        "float64",
        "subspaces",
        "Mean overlap of random subspaces: subspace_dim over the width of the residual stream.",
        lower=0,
        upper=1,
    ),
    Column(
        "router_norm",
        "float64",
        "router",
        "Norm of the router's row for this expert; null without such a router.",
        unit="weight",
        lower=0,
    ),
    Column(
        "router_nearest_cosine",
        "float64",
        "router",
        "Cosine of the router's row with the row of `nearest_expert`.",
        lower=-1,
        upper=1,
    ),
    Column(
        "router_closest_expert",
        "int64",
        "router",
        f"{_EXPERT} whose row of the router has the largest cosine with this one's.",
        lower=0,
    ),
    Column(
        "router_closest_cosine",
        "float64",
        "router",
        "Cosine of the router's row with that expert's.",
        lower=-1,
        upper=1,
    ),
)

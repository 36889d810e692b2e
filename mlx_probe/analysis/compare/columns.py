"""The columns of a comparison."""

from __future__ import annotations

from mlx_probe.analysis.columns import BASE_COLUMNS
from mlx_probe.core.records import Column
from mlx_probe.metrics import METRICS, Metric

__all__ = ["COLUMNS", "DELTA", "STATUSES"]

# ok: every number that applies is there.     identical: all differences are exactly 0.
# only_a, only_b: no counterpart in the other model.      reshaped: the shapes differ.
# nonfinite: NaN or Inf in one of the two.    empty, scalar: nothing to compare.
# skipped: the tensor, or what an adapter does to it, is not understood.
# failed: the numerics gave up. All but ok and identical have a reason.
STATUSES = (
    *("ok", "identical", "only_a", "only_b", "reshaped"),
    *("nonfinite", "empty", "scalar", "skipped", "failed"),
)

# Metrics of the difference, as columns delta_<name>.
_DIFFERENCE_METRICS = (
    *("rank", "spectral_norm", "stable_rank", "effective_rank"),
    *("energy_rank_90", "energy_rank_95", "energy_rank_99"),
    *("spectrum_method", "spectrum_error"),
)
_BY_NAME = {metric.name: metric for metric in METRICS}
DELTA: tuple[Metric, ...] = tuple(_BY_NAME[name] for name in _DIFFERENCE_METRICS)

_BASE = {column.name: column for column in BASE_COLUMNS}
_IDENTITY = (
    Column("param_name", "string", "identity", "Name of the tensor in A; null if only B has it."),
    Column("other_name", "string", "identity", "Name of the tensor in B; null if only A has it."),
    _BASE["layer_index"],
    Column("block_type", "string", "identity", "Role of the tensor in the network.", required=True),
    Column("component", "string", "identity", "Place of the tensor.", required=True),
    _BASE["expert_index"],
    Column(
        "part",
        "string",
        "identity",
        "Part of a fused matrix of A (of B, if only B has it) that the row is about; the fused "
        "matrix has a row too, so leave parts out of sums.",
    ),
    Column("shape", "list<int64>", "identity", "Shape in A; null if only B has it."),
    Column("other_shape", "list<int64>", "identity", "Shape in B; null if only A has it."),
    Column("rows", "int64", "identity", "Rows of the matrix; null if it is none.", lower=0),
    Column("cols", "int64", "identity", "Columns of the matrix; null if it is none.", lower=0),
    Column("numel", "int64", "identity", "Number of elements.", lower=0, required=True),
    Column("dtype", "string", "identity", "Element type as stored in A."),
    Column("other_dtype", "string", "identity", "Element type as stored in B."),
    Column("packing", "string", "identity", "How the elements are stored in A."),
    Column("other_packing", "string", "identity", "How the elements are stored in B."),
    Column("status", "string", "run", f"{', '.join(STATUSES[:-1])} or failed.", required=True),
    Column("status_reason", "string", "run", "Why there are no numbers; null if there are."),
    Column(
        "matched_by",
        "string",
        "identity",
        "How the counterpart was matched: name, role, or adapter; null if there is none.",
    ),
    Column("compute_seconds", "float64", "run", "Time of the worker.", unit="s", lower=0),
)

_CHANGE = (
    Column(
        "relative_change",
        "float64",
        "change",
        "Frobenius norm of B - A over that of A; inf where A is 0.",
        lower=0,
    ),
    Column(
        "cosine",
        "float64",
        "change",
        "Cosine of the angle between A and B as vectors; exactly 1 for identical tensors, null "
        "where one is 0.",
        lower=-1,
        upper=1,
    ),
    Column("change_norm", "float64", "change", "Frobenius norm of B - A.", "weight", 0),
    Column("norm", "float64", "change", "Frobenius norm of A.", "weight", 0),
    Column("other_norm", "float64", "change", "Frobenius norm of B.", "weight", 0),
    Column("max_change", "float64", "change", "Largest magnitude in B - A.", "weight", 0),
    Column("changed_share", "float64", "change", "Share of elements that differ.", "", 0, 1),
)

_SUBSPACES = (
    Column(
        "overlap_directions",
        "int64",
        "subspaces",
        "Leading directions k that the overlaps are about: those asked for, or as many as both "
        "matrices have.",
        lower=1,
    ),
    Column(
        "left_overlap",
        "float64",
        "subspaces",
        "Mean squared cosine of the principal angles between the leading k left singular "
        "directions of A and of B: 1 for the same subspace, about k / rows for random ones.",
        lower=0,
        upper=1,
    ),
    Column(
        "right_overlap",
        "float64",
        "subspaces",
        "The same for right singular directions; about k / cols for random ones.",
        lower=0,
        upper=1,
    ),
    Column(
        "intruder_count",
        "int64",
        "subspaces",
        "Intruder dimensions: leading left singular vectors of B whose cosine with every left "
        "singular vector of A is below epsilon (arXiv 2410.21228).",
        lower=0,
    ),
    Column(
        "right_intruder_count", "int64", "subspaces", "The same of right singular vectors.", lower=0
    ),
    Column(
        "intruder_directions",
        "int64",
        "subspaces",
        "Leading singular vectors of B that were looked at for intruders.",
        lower=1,
    ),
    Column(
        "missing_reason",
        "string",
        "run",
        "Why columns of the difference's spectrum or of the subspaces are empty where the status "
        "is ok; null if none is.",
    ),
)


def _of_difference(metric: Metric) -> Column:
    column = metric.column
    text = column.description
    return Column(
        f"delta_{column.name}",
        column.type,
        "difference",
        f"Of the difference B - A: {text[:1].lower()}{text[1:]}",
        column.unit,
        # Wider than the bound for a weight: a difference may be 0.
        0 if column.lower is not None else None,
        column.upper,
    )


_ROUNDING = Column(
    "delta_rank_above_rounding",
    "int64",
    "difference",
    "Singular values of B - A above what rounding B to its number format makes of any matrix: "
    "the rank of an update that was merged and stored. Null for adapters.",
    lower=0,
)

COLUMNS: tuple[Column, ...] = (
    *_IDENTITY,
    *_CHANGE,
    *map(_of_difference, DELTA),
    _ROUNDING,
    *_SUBSPACES,
)

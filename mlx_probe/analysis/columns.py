"""The columns of an analysis, and their order with the metrics."""

from __future__ import annotations

from collections.abc import Sequence

from mlx_probe.core.records import Column

__all__ = ["BASE_COLUMNS", "SPECTRUM_IDENTITY", "table_columns"]

# Columns beside the singular values of a matrix: its identity, and the error of its values.
SPECTRUM_IDENTITY = (
    *("param_name", "expert_index", "part", "layer_index", "block_type", "rows", "cols"),
    *("spectrum_method", "spectrum_error"),
)

# Metric columns that the first tables of this project had between `cols` and `dtype`: they stay
# there so that old notebooks read new tables.
SEED_METRICS = ("rank", "mean", "std", "var", "sparsity")
_LAST_BEFORE_SEED_METRICS = "cols"

BASE_COLUMNS: tuple[Column, ...] = (
    Column("model_path", "string", "identity", "Where the weights were read from.", required=True),
    Column("model_id", "string", "identity", "Name of the model.", required=True),
    Column(
        "revision",
        "string",
        "identity",
        'Exact commit or package version; "local" for files without one.',
        required=True,
    ),
    Column("param_name", "string", "identity", "Name of the tensor in the file.", required=True),
    Column(
        "layer_index",
        "int64",
        "identity",
        "Number of the block, counted from 0; null outside the blocks.",
        lower=0,
    ),
    Column(
        "block_type",
        "string",
        "identity",
        "Role of the tensor in the network (q_proj, norm, embedding ...).",
        required=True,
    ),
    Column(
        "shape",
        "list<int64>",
        "identity",
        "Logical shape in PyTorch order (out_features x in_features).",
        required=True,
    ),
    Column(
        "rows",
        "int64",
        "identity",
        "Rows of the tensor viewed as a matrix; null if it is not one.",
        lower=0,
    ),
    Column(
        "cols",
        "int64",
        "identity",
        "Columns of the tensor viewed as a matrix; null if it is not one.",
        lower=0,
    ),
    Column("dtype", "string", "identity", "Element type as stored in the file.", required=True),
    Column("created_at", "timestamp", "run", "When the row was computed, in UTC.", required=True),
    Column("device", "string", "run", "Device that did the element work.", required=True),
    Column("backend", "string", "run", "Backend that computed the row.", required=True),
    Column("framework", "string", "run", "File format of the checkpoint.", required=True),
    Column(
        "code_version",
        "string",
        "run",
        "Version of mlx-probe that computed the row.",
        required=True,
    ),
    Column(
        "component",
        "string",
        "identity",
        "Place of the tensor in the network (attention, mlp, moe ...).",
        required=True,
    ),
    Column(
        "expert_index",
        "int64",
        "identity",
        "Number of the expert inside its block, counted from 0; null for dense tensors.",
        lower=0,
    ),
    Column("numel", "int64", "identity", "Number of logical elements.", lower=0, required=True),
    Column(
        "nbytes",
        "int64",
        "identity",
        "Size as stored in the file.",
        unit="bytes",
        lower=0,
        required=True,
    ),
    Column(
        "read_seconds",
        "float64",
        "run",
        "Time to bring the bytes into the backend, unpacking included.",
        unit="s",
        lower=0,
    ),
    Column("compute_seconds", "float64", "run", "Time spent on computing.", unit="s", lower=0),
    Column("read_gbps", "float64", "run", "nbytes divided by read_seconds.", unit="GB/s", lower=0),
    Column(
        "status",
        "string",
        "run",
        "ok, nonfinite, empty, scalar, skipped or failed.",
        required=True,
    ),
    Column(
        "status_reason",
        "string",
        "run",
        "Why the status is not ok, or why numbers are null though it is.",
    ),
    Column(
        "part",
        "string",
        "identity",
        "Part of a fused matrix (q_proj, gate_proj ...) that the row is about; the fused "
        "matrix has a row too, so leave parts out of sums. Null for whole weights.",
    ),
    Column(
        "packing",
        "string",
        "storage",
        "How the elements are stored: plain, or the scheme that packs them.",
        required=True,
    ),
    Column(
        "packing_detail",
        "string",
        "storage",
        "Bits, group sizes and the like of the packing; null if plain.",
    ),
    Column(
        "bits_per_weight",
        "float64",
        "storage",
        "Stored bits for each logical element, scales and all.",
        unit="bits",
        lower=0,
    ),
    Column(
        "pieces",
        "list<string>",
        "storage",
        "Stored tensors that make up a packed weight; null if plain.",
    ),
    Column(
        "alias_of",
        "string",
        "identity",
        "Earlier weight with the same bytes, tied or stored twice, whose numbers these are.",
    ),
)


def table_columns(metrics: Sequence[Column]) -> tuple[Column, ...]:
    """All columns of a table in their final order.

    Args:
        metrics: The metric columns, in the order of their families.

    Returns:
        The base columns with `SEED_METRICS` after ``cols``, then the other metrics as given.

    Raises:
        ValueError: A seed metric is missing, or a name appears twice.
    """
    by_name = {column.name: column for column in metrics}
    if missing := [name for name in SEED_METRICS if name not in by_name]:
        raise ValueError(f"metric columns lack {', '.join(missing)}")
    names = [column.name for column in (*BASE_COLUMNS, *metrics)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"column names appear twice: {', '.join(twice)}")

    split = 1 + [column.name for column in BASE_COLUMNS].index(_LAST_BEFORE_SEED_METRICS)
    return (
        *BASE_COLUMNS[:split],
        *(by_name[name] for name in SEED_METRICS),
        *BASE_COLUMNS[split:],
        *(column for column in metrics if column.name not in SEED_METRICS),
    )

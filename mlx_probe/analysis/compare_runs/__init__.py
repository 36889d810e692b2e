"""Any number of finished runs side by side."""

from mlx_probe.analysis.compare_runs.compare_runs import ALL, compare_runs
from mlx_probe.analysis.compare_runs.groups import BY
from mlx_probe.analysis.compare_runs.records import (
    ComparedRun,
    Difference,
    Group,
    RunsTable,
    TableMetric,
)

__all__ = [
    "ALL",
    "BY",
    "ComparedRun",
    "Difference",
    "Group",
    "RunsTable",
    "TableMetric",
    "compare_runs",
]

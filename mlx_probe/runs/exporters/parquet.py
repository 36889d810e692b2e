"""metrics.parquet: the metrics as a typed table."""

from __future__ import annotations

from pathlib import Path

from mlx_probe.core.files import replacing
from mlx_probe.core.records import Column, Row
from mlx_probe.runs.exporters.metrics import read_metrics
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.table.schema import rows_to_table

__all__ = ["export"]


def export(run: Path, out: Path) -> None:
    """Write a row for each step.

    Columns are in the order in which their names first occur. Those with whole numbers alone are
    int64, the others float64; null where a step has no such number.

    Args:
        run: The run folder.
        out: The file.

    Raises:
        ResultError: The metrics cannot be read, or the disk refused.
    """
    rows = [Row(index, dict(values)) for index, values in enumerate(read_metrics(run))]
    whole: dict[str, bool] = {}
    for row in rows:
        for name, value in row.values.items():
            whole[name] = whole.get(name, True) and (value is None or isinstance(value, int))
    columns = [
        Column(name, "int64" if is_whole else "float64", "metrics", "")
        for name, is_whole in whole.items()
    ]
    with replacing(out) as temporary:
        WRITERS["parquet"].write(rows_to_table(rows, columns), temporary)

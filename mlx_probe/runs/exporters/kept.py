"""What every training keeps of its metrics in other formats, in its own folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from mlx_probe.core.files import replacing
from mlx_probe.core.records import Column, Row
from mlx_probe.runs.exporters import events
from mlx_probe.runs.exporters.metrics import METRICS, Values, read_metrics
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.table.schema import rows_to_table

__all__ = ["KEPT", "write_table"]


def write_table(steps: Iterable[Values], out: Path) -> None:
    """Write a table with a row for each step.

    Columns are in the order in which their names first occur. Those with whole numbers alone are
    int64, the others float64; null where a step has no such number.

    Args:
        steps: Numbers by step.
        out: The file.

    Raises:
        ResultError: The disk refused.
    """
    rows = [Row(index, dict(values)) for index, values in enumerate(steps)]
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


def _table(run: Path, out: Path) -> None:
    write_table(read_metrics(run), out)


def _events(run: Path, out: Path) -> None:
    """Write every number of every step as a scalar.

    The wall time of a step is that of the run: what the metrics call "seconds", from the moment
    on that lies so long before their last change. TensorBoard keeps scalars in float32.
    """
    steps = list(read_metrics(run))
    last = next((_seconds(values) for values in reversed(steps)), 0.0)
    began = (run / METRICS).stat().st_mtime - last
    records = (events.scalars(began + _seconds(each), each) for each in steps)
    events.write_file(out / events.NAME, [events.begin(began), *records])


def _seconds(values: Values) -> float:
    return float(values.get("seconds") or 0.0)


# By name in the run folder: take the run folder, and where to write; replace what is there. Raise
# ResultError if the metrics cannot be read, or the disk refuses.
KEPT: dict[str, Callable[[Path, Path], None]] = {
    "metrics.parquet": _table,
    "tensorboard": _events,
}

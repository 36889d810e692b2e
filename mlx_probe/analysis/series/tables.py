"""The tables of a series: a row for each step and tensor, and one for each change."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.analysis.series.curves import label_of
from mlx_probe.analysis.series.events import Change
from mlx_probe.analysis.series.since import SINCE, changes_since
from mlx_probe.core.files import replacing
from mlx_probe.core.records import Column, Row
from mlx_probe.runs.over_steps import table_over_steps
from mlx_probe.runs.series import CHANGES, TABLE, SeriesFolder
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.table.arrays import to_array
from mlx_probe.runs.table.schema import arrow_schema, rows_to_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CHANGE_COLUMNS", "series_table", "write_tables"]

CHANGE_COLUMNS = (
    Column("step", "int64", "run", "First checkpoint after the change.", required=True),
    Column("previous", "int64", "run", "Last checkpoint before the change.", required=True),
    Column("until", "int64", "run", "Last checkpoint of a change over several.", required=True),
    Column("param_name", "string", "identity", "The tensor.", required=True),
    Column("layer_index", "int64", "identity", "Its layer; null outside the layers."),
    Column("column", "string", "identity", "The column that changed.", required=True),
    Column("before", "float64", "run", "Its value before."),
    Column("after", "float64", "run", "Its value after."),
    Column("score", "float64", "run", "Standard deviations of the usual drift."),
)


def series_table(folder: SeriesFolder, steps: Sequence[int]) -> pa.Table:
    """The rows of all steps, and what moved since the step before.

    Args:
        folder: Of the series.
        steps: Ascending, at least one.

    Raises:
        ResultError: A measurement cannot be read.
    """
    import pyarrow as pa

    table = table_over_steps({step: folder.run(step) for step in steps})
    since = changes_since(folder, steps)
    names = ("step", "param_name", "expert_index", "part")
    keys = zip(*(table[name].to_pylist() for name in names), strict=True)
    values = [since.get((step, label_of(name, expert, part))) for step, name, expert, part in keys]
    field = arrow_schema((SINCE,)).field(0)
    return table.append_column(field, pa.chunked_array([to_array(values, pa.float64())]))


def write_tables(
    folder: Path, table: pa.Table, changes: Sequence[Change], formats: Sequence[str]
) -> list[str]:
    """Write both tables in all formats: all of them, or none.

    Args:
        folder: Of the series.
        table: From `series_table`.
        changes: In their order.
        formats: Keys of `WRITERS`.

    Returns:
        Names of the files.

    Raises:
        ResultError: The disk refused.
    """
    rows = [
        Row(
            at,
            {
                "step": change.step, "previous": change.previous, "until": change.until,
                "param_name": change.tensor, "layer_index": change.layer,
                "column": change.column, "before": change.before, "after": change.after,
                "score": change.score,
            },
        )
        for at, change in enumerate(changes)
    ]  # fmt: skip
    contents = {TABLE: table, CHANGES: rows_to_table(rows, CHANGE_COLUMNS)}
    names = []
    with ExitStack() as stack:
        for stem, content in contents.items():
            for suffix in formats:
                names.append(f"{stem}.{suffix}")
                WRITERS[suffix].write(content, stack.enter_context(replacing(folder / names[-1])))
    return names

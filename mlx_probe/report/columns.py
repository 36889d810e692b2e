"""``docs/en/columns.md``: every column of every table, generated from the columns themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.compare.columns import COLUMNS as COMPARE_COLUMNS
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.core.markdown import table
from mlx_probe.core.records import Column
from mlx_probe.metrics import FAMILIES, METRICS
from mlx_probe.runs.monitor.columns import SAMPLE_COLUMNS

__all__ = ["columns_page"]

_INTRODUCTION = """\
# Columns

This page lists every column of every table that mlx-probe writes, with type, unit and range. How \
to read the numbers is on the page [metrics](metrics.md).

- Tables: {links}.
- An empty cell is null: the column does not apply to the row, or the metric set does not compute \
it.
- "weight" as a unit is the unit of the weights themselves.
- The order of the columns in a file is that of `columns` in its `run_meta.json`; here they are \
grouped by what they are about.
"""
_SEE_ALSO = """\
## See also

- [Metrics](metrics.md): definitions, and how to read them
- [Compare](compare.md): the table `compare`
- [Monitor](monitor.md): the samples of a job
- [Python API](python-api.md#load_run): reading the tables with their types
"""


def columns_page() -> str:
    """The page, without the comment at its beginning."""
    levels = {metric.name: metric.level for metric in METRICS}
    main = table_columns([metric.column for metric in METRICS])
    chapters = {
        "params": "One row for each tensor, by `mlx-probe analyze`. The metric set is the smallest "
        "value of `--metrics` with which the column is filled; columns without one are always "
        f"there.\n\n{_families(main, levels)}",
        **{
            key: f"{side.title}, written beside `params` with `--metrics {side.level}`: "
            f"{side.about}\n\n{_families(side.columns)}"
            for key, side in SIDES.items()
        },
        "compare": "One row for each tensor of A or B, by `mlx-probe compare A B`.\n\n"
        f"{_families(COMPARE_COLUMNS)}",
        "monitor": "One row for each second of a job, as `monitor.parquet` and for "
        f"`mlx_probe.load_samples`.\n\n{_families(SAMPLE_COLUMNS)}",
    }
    links = ", ".join(f"[{name}](#{name})" for name in chapters)
    body = "\n".join(f"## {name}\n\n{text}\n" for name, text in chapters.items())
    return f"{_INTRODUCTION.format(links=links)}\n{body}\n{_SEE_ALSO}"


def _families(columns: Sequence[Column], levels: Mapping[str, str] | None = None) -> str:
    """A table for each family, in the order in which they first occur."""
    families = dict.fromkeys(column.family for column in columns)
    return "\n\n".join(
        f"{_heading(family)}\n\n"
        + _markdown([column for column in columns if column.family == family], levels)
        for family in families
    )


def _heading(name: str) -> str:
    for family in FAMILIES:
        if family.name == name:
            return f"**{family.title}**: {family.description}"
    return "**CPU**" if name == "cpu" else f"**{name.replace('_', ' ').capitalize()}**"


def _markdown(columns: Iterable[Column], levels: Mapping[str, str] | None) -> str:
    columns = list(columns)
    # A column of the page that would be empty in all rows is left out.
    leveled = levels is not None and any(column.name in levels for column in columns)
    header = ["column", "type", "unit", "range", *(["metric set"] if leveled else []), "meaning"]
    rows = []
    for column in columns:
        level = [levels.get(column.name, "")] if leveled and levels is not None else []
        meaning = column.description.replace("|", "\\|").replace("<", "\\<")
        named, kind = f"`{column.name}`", f"`{column.type}`"
        rows.append([named, kind, column.unit, _range(column), *level, meaning])
    return table(header, rows)


def _range(column: Column) -> str:
    lower, upper = column.lower, column.upper
    if lower is None:
        return "" if upper is None else f"at most {upper:g}"
    return f"at least {lower:g}" if upper is None else f"{lower:g} to {upper:g}"

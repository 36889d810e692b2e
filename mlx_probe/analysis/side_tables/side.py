"""What a table beside the main one is: its columns, its rows, how the report shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.core.records import METRIC_LEVELS, Column, MetricLevel

if TYPE_CHECKING:
    from mlx_probe.analysis.plan import Plan

__all__ = ["Side"]


@dataclass(frozen=True)
class Side:
    """A table beside the main one, with several weights in a row.

    Attributes:
        key: Name of its files (``heads.csv``), in run_meta.json and for `load_side_table`.
        title: Heading in the report.
        about: What its rows are, for the docs; Markdown that goes on after a colon.
        columns: Its columns.
        rows: Computes its rows, column name to value; an absent name is null. No rows where a
            model has nothing of the kind: then no table is written.
        level: The smallest metric set that has it.
        shown: Columns that the HTML report's table shows at first.
        map_rows: Column that numbers the rows of the HTML report's map; its columns are the
            layers. None for no map.
        group: Column by which maps and profiles are grouped; None for one group.
        profile: Columns that the terminal report draws over the layers.
    """

    key: str
    title: str
    about: str
    columns: tuple[Column, ...]
    rows: Callable[[Plan], Iterator[Mapping[str, Any]]]
    level: MetricLevel = "full"
    shown: tuple[str, ...] = ()
    map_rows: str | None = None
    group: str | None = None
    profile: tuple[str, ...] = ()

    def is_in(self, level: MetricLevel) -> bool:
        """Whether a metric set includes this table."""
        return METRIC_LEVELS.index(self.level) <= METRIC_LEVELS.index(level)

"""What a table beside the main one is: its columns, its rows, how the report shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.core.records import METRIC_LEVELS, Column, MetricLevel

if TYPE_CHECKING:
    from mlx_probe.analysis.plan import Plan

__all__ = ["Side", "SidePart", "SideRow", "of_layer"]

# Column name to value; an absent name is null.
SideRow = Mapping[str, Any]


@dataclass(frozen=True)
class SidePart:
    """Some rows of a table, which depend on no others: a layer, or a group of experts.

    Attributes:
        name: For messages.
        nbytes: Bytes of memory that one worker takes for them at most.
        work: How long that takes, in flops of a product; see `work_of`.
        rows: Computes them, on as many workers as given where they can be divided; they do not
            depend on the number.
        failed: What takes their place if they cannot be computed, by the reason.
    """

    name: str
    nbytes: int
    work: float
    rows: Callable[[int], Sequence[SideRow]]
    failed: Callable[[str], Sequence[SideRow]]


@dataclass(frozen=True)
class Side:
    """A table beside the main one, with several weights in a row.

    Attributes:
        key: Name of its files (``heads.csv``), in run_meta.json and for `load_side_table`.
        title: Heading in the report.
        about: What its rows are, for the docs; Markdown that goes on after a colon.
        columns: Its columns.
        parts: Its rows in parts, for a plan whose parts may take so many bytes together. None
            where a model has nothing of the kind: then no table is written.
        divided: Whether each part divides its work among all workers; if not, each part has one
            worker.
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
    parts: Callable[[Plan, int], Sequence[SidePart]]
    divided: bool = False
    level: MetricLevel = "full"
    shown: tuple[str, ...] = ()
    map_rows: str | None = None
    group: str | None = None
    profile: tuple[str, ...] = ()

    def is_in(self, level: MetricLevel) -> bool:
        """Whether a metric set includes this table."""
        return METRIC_LEVELS.index(self.level) <= METRIC_LEVELS.index(level)


def of_layer(number: int | None) -> str:
    """What follows in the name of a part of a layer: " of layer 3"; "" outside all blocks."""
    return "" if number is None else f" of layer {number}"

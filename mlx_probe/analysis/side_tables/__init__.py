"""Tables beside the main one, for what takes several weights together.

`SIDES` lists them. A run makes them after the main table's rows, and again when it resumes:
they take a fraction of its time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlx_probe.analysis.side_tables.experts import EXPERTS
from mlx_probe.analysis.side_tables.heads import HEADS
from mlx_probe.analysis.side_tables.side import Side, SidePart, SideRow
from mlx_probe.core.records import MetricLevel, Row
from mlx_probe.runs.table.schema import rows_to_table

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.analysis.plan import Plan
    from mlx_probe.runs.monitor import UsageMeter

__all__ = [
    "SIDES",
    "Side",
    "SidePart",
    "side_names",
    "side_parts",
    "side_tables",
    "sides_of_level",
    "tables_of",
]

SIDES: dict[str, Side] = {side.key: side for side in (HEADS, EXPERTS)}


def sides_of_level(level: MetricLevel) -> tuple[Side, ...]:
    """The tables that a metric set includes."""
    return tuple(side for side in SIDES.values() if side.is_in(level))


def side_names(level: MetricLevel) -> str:
    """The tables that a metric set includes, for a sentence; "" if it has none."""
    return " and ".join(side.key for side in sides_of_level(level))


def side_parts(plan: Plan, budget: int) -> dict[str, list[SidePart]]:
    """The parts of each table that a plan's metrics include, by its key.

    Args:
        plan: The plan.
        budget: Bytes that parts may take together.
    """
    return {
        side.key: list(side.parts(plan, budget)) for side in sides_of_level(plan.config.metrics)
    }


def side_tables(plan: Plan, meter: UsageMeter) -> dict[str, pa.Table]:
    """The tables that a run writes beside its rows.

    Args:
        plan: The plan.
        meter: Counts the time that they take.

    Returns:
        By key, those that have rows.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
        Stopped: The monitor's gate is closed for good.
    """
    # Imports what computes: the command line only lists the tables.
    from mlx_probe.analysis.side_tables.rows import rows_in_order

    made = {}
    for key, parts in side_parts(plan, plan.budget).items():
        rows: list[SideRow] = []
        with meter.stage("sides"):
            side_rows = rows_in_order(parts, SIDES[key].divided, plan.config.workers, plan.budget)
            for row in side_rows:
                meter.gate.wait()
                rows.append(row)
        made[key] = rows
    return tables_of(made)


def tables_of(rows: Mapping[str, Sequence[SideRow]]) -> dict[str, pa.Table]:
    """Side tables by their rows, those that have any.

    Args:
        rows: In their order, by the key of their table.
    """
    return {
        key: rows_to_table([Row(i, values) for i, values in enumerate(each)], SIDES[key].columns)
        for key, each in rows.items()
        if each
    }

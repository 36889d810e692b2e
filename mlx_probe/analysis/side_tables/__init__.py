"""Tables beside the main one, for what takes several weights together.

`SIDES` lists them. A run makes them after the main table's rows, and again when it resumes:
they take a fraction of its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlx_probe.analysis.side_tables.experts import EXPERTS
from mlx_probe.analysis.side_tables.heads import HEADS
from mlx_probe.analysis.side_tables.side import Side
from mlx_probe.core.records import MetricLevel, Row
from mlx_probe.runs.table.schema import rows_to_table

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.analysis.plan import Plan
    from mlx_probe.runs.monitor import UsageMeter

__all__ = ["SIDES", "Side", "side_names", "side_tables", "sides_of_level"]

SIDES: dict[str, Side] = {side.key: side for side in (HEADS, EXPERTS)}


def sides_of_level(level: MetricLevel) -> tuple[Side, ...]:
    """The tables that a metric set includes."""
    return tuple(side for side in SIDES.values() if side.is_in(level))


def side_names(level: MetricLevel) -> str:
    """The tables that a metric set includes, for a sentence; "" if it has none."""
    return " and ".join(side.key for side in sides_of_level(level))


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
    tables = {}
    for side in sides_of_level(plan.config.metrics):
        rows = []
        with meter.stage("sides"):
            # Workers take the next layer or group when its rows are asked for.
            for index, values in enumerate(side.rows(plan)):
                meter.gate.wait()
                rows.append(Row(index, values))
        if rows:
            tables[side.key] = rows_to_table(rows, side.columns)
    return tables

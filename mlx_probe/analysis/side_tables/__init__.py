"""Tables beside the main one: what takes several weights together.

`SIDES` is the list of them. They are made after the main table's rows, with the full metrics
only, and made anew when a run resumes: they take a fraction of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.plan import Plan
from mlx_probe.analysis.side_tables.experts.rows import EXPERT_COLUMNS, expert_rows
from mlx_probe.analysis.side_tables.heads.rows import HEAD_COLUMNS, head_rows
from mlx_probe.core.records import Column, Row
from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.runs.table.schema import rows_to_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SIDES", "Side", "side_tables"]


@dataclass(frozen=True)
class Side:
    """A table beside the main one.

    Attributes:
        columns: Its columns.
        rows: Makes its rows; none where a model has nothing of the kind.
    """

    columns: tuple[Column, ...]
    rows: Callable[[Plan], Iterator[Mapping[str, Any]]]


def _heads(plan: Plan) -> Iterator[Mapping[str, Any]]:
    architecture, config = plan.checkpoint.architecture, plan.config
    return head_rows(plan.weights, architecture, config.rank_tol, config.workers, plan.budget)


def _experts(plan: Plan) -> Iterator[Mapping[str, Any]]:
    architecture, config = plan.checkpoint.architecture, plan.config
    return expert_rows(plan.weights, architecture, plan.budget, config.seed, config.workers)


SIDES: Mapping[str, Side] = {
    "heads": Side(HEAD_COLUMNS, _heads),
    "experts": Side(EXPERT_COLUMNS, _experts),
}


def side_tables(plan: Plan, meter: UsageMeter) -> dict[str, pa.Table]:
    """The tables that a run writes beside its rows.

    Args:
        plan: The plan; anything but the full metrics has none.
        meter: Is told what they took.

    Returns:
        By name, with the columns of `SIDES`; those that have rows.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
        Stopped: The monitor's gate is closed for good.
    """
    tables = {}
    for name, side in SIDES.items() if plan.config.metrics == "full" else ():
        rows = []
        with meter.stage("sides"):
            # Workers take the next layer or group when its rows are asked for.
            for index, values in enumerate(side.rows(plan)):
                meter.gate.wait()
                rows.append(Row(index, values))
        if rows:
            tables[name] = rows_to_table(rows, side.columns)
    return tables

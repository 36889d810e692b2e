"""A budget for programs: the rows of its table, and the document of ``--json``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlx_probe.core.records import Row
from mlx_probe.lab.budget.records import BudgetPlan, Chosen

__all__ = ["budget_document", "budget_rows"]


def budget_rows(plan: BudgetPlan) -> Iterator[Row]:
    """A row of `COLUMNS` for each matrix and each other parameter."""
    for index, chosen in enumerate(plan.chosen):
        yield Row(index, _values(chosen))


def _values(chosen: Chosen) -> dict[str, Any]:
    matrix, way = chosen.matrix, chosen.choice.way
    return {
        "name": matrix.name,
        "path": matrix.path,
        "layer_index": matrix.layer,
        "block_type": matrix.block_type,
        "component": matrix.component,
        "shape": matrix.shape,
        "dtype": matrix.dtype,
        "stored_as": None if matrix.packed is None else matrix.packed.text,
        "choice": chosen.choice.kind,
        "bits": None if way is None else way.bits,
        "group": None if way is None else way.group,
        "mode": None if way is None else way.mode,
        "rank": chosen.choice.rank,
        "bytes_before": chosen.before,
        "bytes_after": chosen.after,
        "energy": chosen.energy,
        "error": chosen.error,
        "rank_needed": chosen.rank_needed,
        "rank_saving": chosen.rank_saving,
        "status": chosen.status,
        "status_reason": chosen.reason or None,
    }


def budget_document(plan: BudgetPlan, run: str | None = None) -> dict[str, Any]:
    """The document of ``mlx-probe budget --json``.

    Args:
        plan: The budget.
        run: The folder that it was written to.
    """
    return {
        "model": plan.model,
        "folder": plan.folder,
        "run": run,
        "goal": {
            "energy": plan.goal.energy,
            "error": plan.goal.error,
            "size": plan.goal.size,
        },
        "kinds": list(plan.kinds),
        "dtype": plan.dtype,
        "bytes_before": plan.before,
        "bytes_after": plan.after,
        "saved": plan.before - plan.after,
        "relative_error": plan.error,
        "energy": plan.energy,
        "squared_error": plan.squared_error,
        "bound": plan.bound,
        "gap": plan.gap,
        "exported": None,
        "choices": [
            {**row.values, "shape": list(row.values["shape"])} for row in budget_rows(plan)
        ],
    }

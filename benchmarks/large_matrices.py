"""Large matrices as 7B models have them: against numpy's SVD, and against this machine's limits.

    python benchmarks/large_matrices.py [--runs N] [--workers 2]

Synthetic Gaussian bfloat16 checkpoints, each analysed by `mlx-probe analyze --backend numpy` in
a process of its own, in turn with what it is compared to:

- a 4,096 x 4,096 and a 14,336 x 4,096 matrix, against ``numpy.linalg.svd(compute_uv=False)`` of
  their float32 values, and against one float64 product of 2 n**3 flops with all cores;
- a 151,936 x 1,024 embedding with one worker, against the rate of a float64 product on one
  core;
- 64 experts of 2,048 x 768, with one worker and with all.

Times of mlx-probe are those of measuring: start-up (a third of a second) and the calibration
(once for a machine) are left out, as imports are on the other side.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from memory import write_bfloat16
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from whole_run import matrices, run

SQUARE, TALL = (4096, 4096), (14336, 4096)
CHECKPOINTS = {
    "square": {"model.layers.0.self_attn.q_proj.weight": SQUARE},
    "tall": {"model.layers.0.mlp.up_proj.weight": TALL},
    "both": {
        "model.layers.0.self_attn.q_proj.weight": SQUARE,
        "model.layers.0.mlp.up_proj.weight": TALL,
    },
    "embedding": {"model.embed_tokens.weight": (151936, 1024)},
    "experts": {f"model.layers.0.mlp.experts.{i}.up_proj.weight": (2048, 768) for i in range(64)},
}


def analyse(folder: Path, workers: int) -> dict[str, Any]:
    """What run_meta.json says of an analysis of a checkpoint."""
    command = [str(Path(sys.executable).with_name("mlx-probe")), "analyze", str(folder)]
    command += ["--backend", "numpy", "--workers", str(workers), "--no-resume"]
    run([*command, "--out", str(folder / "run")])
    meta: dict[str, Any] = json.loads((folder / "run" / "run_meta.json").read_text())
    return meta


def measured(folder: Path, workers: int) -> float:
    """Seconds of measuring."""
    return float(analyse(folder, workers)["seconds"]["measure"])


def seconds(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def product(size: int, threads: int | None = None) -> float:
    """Seconds of a float64 product of 2 size**3 flops."""
    a = np.random.default_rng(0).standard_normal((size, size))
    with threadpool_limits(threads, user_api="blas"):
        return min(seconds(lambda: a @ a) for _ in range(3))


def svd_seconds(folder: Path) -> list[float]:
    """Seconds of numpy's SVD of every matrix of a checkpoint, in file order."""

    def values(matrix: NDArray[np.float32]) -> object:
        return np.linalg.svd(matrix, compute_uv=False)

    return [seconds(lambda m=matrix: values(m)) for _, matrix in matrices(str(folder))]


@click.command()
@click.option("--runs", default=3, show_default=True)
@click.option("--workers", default=os.cpu_count() or 1, show_default=True)
def main(runs: int, workers: int) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for each, shapes in CHECKPOINTS.items():
            (root / each).mkdir()
            write_bfloat16(root / each / "model.safetensors", shapes)
        analyse(root / "square", workers)  # calibrates, once
        times: dict[str, list[float]] = {}

        def note(what: str, took: float) -> None:
            times.setdefault(what, []).append(took)

        for _ in range(runs):
            square, tall = svd_seconds(root / "both")
            note("numpy svd, square", square)
            note("numpy svd, tall", tall)
            note("numpy svd, both", square + tall)
            for each in ("square", "tall", "both"):
                note(f"mlx-probe, {each}", measured(root / each, workers))
            note("product", product(SQUARE[0]))
            note("product rate", 2 * 2048**3 / product(2048, 1))
            embedding = analyse(root / "embedding", 1)
            rows, cols = CHECKPOINTS["embedding"]["model.embed_tokens.weight"]
            flops = float(rows) * cols * (cols + 1)
            note("embedding", flops / embedding["seconds"]["measure"])
            gram = embedding["stages"]["gram"]
            note("gram", gram["flops"] / gram["seconds"])
            for count in (1, workers):
                note(f"experts, {count}", measured(root / "experts", count))
    of = {what: median(took) for what, took in times.items()}
    print(f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores,")
    print(f"{workers} workers, median of {runs} in turn\n")
    print("| matrices | numpy svd s | mlx-probe s | times faster |\n|---|---|---|---|")
    for each in ("square", "tall", "both"):
        plain, ours = of[f"numpy svd, {each}"], of[f"mlx-probe, {each}"]
        print(f"| {each} | {plain:.2f} | {ours:.2f} | {plain / ours:.2f} |")
    ratio = of["mlx-probe, square"] / of["product"]
    print(f"\nsquare: {ratio:.2f} products of 2 n**3 flops ({of['product']:.2f} s, all cores)")
    rate = of["product rate"]
    print(f"embedding: {of['embedding'] / rate:.0%} of the rate of a product on one core", end=" ")
    print(
        f"({rate / 1e9:.1f} GFLOP/s) with everything, its Gram matrix alone {of['gram'] / rate:.0%}"
    )
    one, all_of_them = of["experts, 1"], of[f"experts, {workers}"]
    print(f"experts: {one:.2f} s with one worker, {all_of_them:.2f} s with {workers}", end=": ")
    print(f"{one / all_of_them:.2f} times faster")


if __name__ == "__main__":
    main()

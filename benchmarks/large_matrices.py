"""Large matrices as 7B models have them: against numpy's SVD, and against this machine's limits.

    python benchmarks/large_matrices.py [--runs N] [--workers 2] [--scale 1]

Synthetic Gaussian bfloat16 checkpoints, each analysed by `mlx-probe analyze --backend numpy` in
a process of its own, in turn with what it is compared with:

- a 4,096 x 4,096 and a 14,336 x 4,096 matrix, with compiled kernels and without, against
  ``numpy.linalg.svd(compute_uv=False)`` of their float32 values with all cores, and against one
  float64 product of 2 n**3 flops with all cores;
- a 151,936 x 1,024 embedding with one worker, against the time that the flops of its Gram matrix
  take at the rate of a float64 product on one core;
- 64 experts of 2,048 x 768, with all workers against one.

Times of mlx-probe are those of measuring: start-up (a third of a second) and the calibration
(once for a machine) are left out, as imports are on the other side. Ratios are medians over the
turns. ``--scale 8`` divides every side by 8. At full size a figure that misses its limit makes the
exit code 1.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from _checkpoints import Shape, matrices, write_bfloat16
from _processes import PROBE, run, seconds_of
from _results import out_option, publish, rounded
from threadpoolctl import threadpool_limits

from mlx_probe.compute import native

# Times faster than numpy's SVD, with kernels.
LEAST_FASTER = {"square": 4.0, "tall": 4.5}
SQUARE, TALL = (4096, 4096), (14336, 4096)
EMBEDDING, EXPERT, EXPERTS = (151936, 1024), (2048, 768), 64
COLUMNS = ("mlx-probe", "compared with", "its seconds", "mlx-probe, seconds", "times faster")


def checkpoints(scale: int) -> dict[str, dict[str, Shape]]:
    """Shapes by tensor name, by what the checkpoint is for."""

    def smaller(shape: Shape) -> Shape:
        return shape[0] // scale, shape[1] // scale

    square = {"model.layers.0.self_attn.q_proj.weight": smaller(SQUARE)}
    tall = {"model.layers.0.mlp.up_proj.weight": smaller(TALL)}
    names = (f"model.layers.0.mlp.experts.{i}.up_proj.weight" for i in range(EXPERTS))
    return {
        "square": square,
        "tall": tall,
        "both": square | tall,
        "embedding": {"model.embed_tokens.weight": smaller(EMBEDDING)},
        "experts": dict.fromkeys(names, smaller(EXPERT)),
    }


def analyse(folder: Path, workers: int, kernels: bool = True) -> dict[str, Any]:
    """The run_meta.json of an analysis of a checkpoint."""
    off = {} if kernels else {native.VARIABLE: "0"}
    options = ["--backend", "numpy", "--workers", workers, "--overwrite", "--out", folder / "run"]
    run([PROBE, "analyze", folder, *options], off)
    meta: dict[str, Any] = json.loads((folder / "run" / "run_meta.json").read_text())
    return meta


def product(size: int, threads: int | None = None) -> float:
    """Seconds of a float64 product of 2 size**3 flops."""
    a = np.random.default_rng(0).standard_normal((size, size))
    with threadpool_limits(threads, user_api="blas"):
        return min(seconds_of(lambda: a @ a) for _ in range(3))


def svd_seconds(folder: Path) -> list[float]:
    """Seconds of numpy's SVD of every matrix of a checkpoint, in file order."""
    return [
        seconds_of(lambda m=matrix: np.linalg.svd(m, compute_uv=False))  # type: ignore[misc]
        for _, matrix in matrices(str(folder))
    ]


def one_turn(root: Path, workers: int, shapes: Mapping[str, Mapping[str, Shape]]) -> dict[str, Any]:
    """Seconds of every way, once."""
    square, tall = svd_seconds(root / "both")
    took = {"svd square": square, "svd tall": tall, "svd both": square + tall}
    for each in ("square", "tall", "both"):
        for kernels in (True, False):
            meta = analyse(root / each, workers, kernels)
            took[each if kernels else f"{each} without"] = meta["seconds"]["measure"]
    (side, _), *_ = shapes["square"].values()
    took["product"] = product(side)
    ((rows, cols),) = shapes["embedding"].values()
    rate = 2 * (side // 2) ** 3 / product(side // 2, 1)
    took["embedding at the rate"] = float(rows) * cols * (cols + 1) / rate
    embedding = analyse(root / "embedding", 1)
    took["embedding"] = embedding["seconds"]["measure"]
    took["gram"] = embedding["stages"]["gram"]["seconds"]
    took["experts, 1"] = analyse(root / "experts", 1)["seconds"]["measure"]
    took["experts"] = analyse(root / "experts", workers)["seconds"]["measure"]
    return took


@click.command()
@click.option("--runs", default=3, show_default=True)
@click.option("--workers", default=os.cpu_count() or 1, show_default=True)
@click.option("--scale", default=1, show_default=True, help="Divide every side by this.")
@out_option
def main(runs: int, workers: int, scale: int, out: Path) -> None:
    """Print and keep the table."""
    shapes = checkpoints(scale)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for each, matrices_of in shapes.items():
            (root / each).mkdir()
            write_bfloat16(root / each / "model.safetensors", matrices_of)
        # Calibrates, once for a machine.
        for kernels in (True, False):
            analyse(root / "square", workers, kernels)
        turns = [one_turn(root, workers, shapes) for _ in range(runs)]
    of = {what: median(turn[what] for turn in turns) for what in turns[0]}
    size = {what: "{:,} x {:,}".format(*next(iter(each.values()))) for what, each in shapes.items()}
    square, tall, rate = size["square"], size["tall"], "product rate of one core"
    both, none = "both of them", "no kernels"
    compared = (
        (square, "numpy svd", "svd square", "square"),
        (f"{square}, {none}", "numpy svd", "svd square", "square without"),
        (tall, "numpy svd", "svd tall", "tall"),
        (f"{tall}, {none}", "numpy svd", "svd tall", "tall without"),
        (both, "numpy svd", "svd both", "both"),
        (f"{both}, {none}", "numpy svd", "svd both", "both without"),
        (square, "float64 product of 2 n^3 flops, all cores", "product", "square"),
        (f"{size['embedding']}, one worker", rate, "embedding at the rate", "embedding"),
        ("its Gram matrix alone", rate, "embedding at the rate", "gram"),
        (f"{EXPERTS} experts of {size['experts']}", "one worker", "experts, 1", "experts"),
    )
    rows = [
        (ours, theirs, rounded(of[a]), rounded(of[b]), rounded(median(t[a] / t[b] for t in turns)))
        for ours, theirs, a, b in compared
    ]
    note = f"bfloat16, numpy backend, {workers} workers; medians of {runs} turns."
    publish("large_matrices", COLUMNS, rows, note, out)
    faster = {what: median(t[f"svd {what}"] / t[what] for t in turns) for what in LEAST_FASTER}
    missed = [what for what, least in LEAST_FASTER.items() if faster[what] < least]
    if missed and scale == 1 and native.used():
        raise SystemExit(f"missed: {', '.join(missed)}; at least {LEAST_FASTER}")


if __name__ == "__main__":
    main()

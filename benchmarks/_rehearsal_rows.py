"""Runs of many rows: an analysis that is killed and resumed, what reads it, and its page."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from _checkpoints import write_gaussian
from _processes import PROBE, Used, run

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import browser

__all__ = ["Page", "Resumed", "Whole", "analyzed", "fixed_seconds", "page_of", "resumed"]

# One worker: what is not in a stage is then not the time of a worker that waits.
OPTIONS = ("--workers", "1", "--quiet")
# Of the rows, when a run is killed.
SHARE = 0.9
ROW = b'{"index"'


@dataclass(frozen=True)
class Whole:
    """An analysis from its command to its end.

    Attributes:
        rows: It wrote.
        used: By its process.
        stages: Seconds of the stages of run_meta.json.
    """

    rows: int
    used: Used
    stages: float

    def bookkeeping(self, fixed: float) -> float:
        """Milliseconds of a row outside of the stages, without what every run takes."""
        return 1000 * (self.used.seconds - fixed - self.stages) / self.rows


@dataclass(frozen=True)
class Resumed:
    """The same command after a kill.

    Attributes:
        kept: Rows that were there.
        first: Seconds from the command to the first new row.
    """

    kept: int
    first: float


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        used: By the process that wrote it.
        size: Megabytes.
        ready: Seconds in Chromium from the address to a page that answers; None without Chromium.
        messages: What its console said.
    """

    used: Used
    size: float
    ready: float | None
    messages: int


def command(model: Path, out: Path, limit: str, *more: str) -> list[str]:
    return [PROBE, "analyze", str(model), "--out", str(out), "--memory-limit", limit, *more]


def analyzed(model: Path, out: Path, limit: str, *more: str) -> Whole:
    """Analyse a model in a process of its own.

    Args:
        model: Its folder.
        out: For the run.
        limit: Of memory.
        more: Options.
    """
    used = run(command(model, out, limit, *OPTIONS, *more))
    meta: dict[str, Any] = json.loads((out / "run_meta.json").read_text("utf-8"))
    stages = sum(stage["seconds"] for stage in meta["stages"].values())
    return Whole(sum(meta["rows_by_status"].values()), used, stages)


def fixed_seconds(limit: str, turns: int) -> float:
    """What the analysis of a single small tensor takes: the start and the end of every run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write_gaussian(path, {"model.norm.weight": ("F32", (16, 1))})
        runs = [analyzed(path, Path(folder) / f"run{turn}", limit) for turn in range(turns)]
    return median(whole.used.seconds - whole.stages for whole in runs)


def resumed(model: Path, out: Path, limit: str, rows: int, *more: str) -> Resumed | None:
    """Kill an analysis when most of its rows are there, and give the same command again.

    Returns:
        None where it was finished before it could be killed.

    Raises:
        SystemExit: The second one failed.
    """
    words = command(model, out, limit, *OPTIONS, *more)
    kept = 0
    with subprocess.Popen(words) as first:
        while first.poll() is None and kept < SHARE * rows:
            time.sleep(0.01)
            kept = _rows_in(out)
        if first.poll() is not None:
            return None
        first.kill()
    kept = _rows_in(out)
    began = time.perf_counter()
    with subprocess.Popen(words) as second:
        while second.poll() is None and _rows_in(out) <= kept:
            time.sleep(0.01)
        seconds = time.perf_counter() - began
    if second.returncode:
        raise SystemExit(f"failed: {' '.join(words)}")
    return Resumed(kept, seconds)


def _rows_in(out: Path) -> int:
    """Rows of the journal, as far as they are counted: it only grows."""
    journal = next(iter(out.glob("*.partial.jsonl")), None)
    if journal is None:
        return 0
    counted, count = _COUNTED.get(journal, (0, 0))
    try:
        with journal.open("rb") as file:
            file.seek(counted)
            new = file.read()
    except FileNotFoundError:
        return count  # The run is finished.
    whole = new[: new.rfind(b"\n") + 1]
    count += sum(line.startswith(ROW) for line in whole.splitlines())
    _COUNTED[journal] = counted + len(whole), count
    return count


_COUNTED: dict[Path, tuple[int, int]] = {}


def page_of(out: Path) -> Page:
    """Write the report of a run, and open it in Chromium where there is one."""
    page = out / "report.html"
    used = run([PROBE, "report", out, "--out", page])
    ready, messages = None, 0
    if browser.PATH is not None:
        with tempfile.TemporaryDirectory() as profile, browser.Browser(profile) as opened:
            began = time.perf_counter()
            opened.open(page)
            ready = time.perf_counter() - began
            _use(opened)
            messages = len(opened.messages)
    return Page(used, page.stat().st_size / 1e6, ready, messages)


def _use(opened: Any) -> None:
    """Sort the table by name, filter it, and draw each view of the map."""
    name = "[data-column=param_name]"
    opened.value(f"document.querySelector('#table thead button{name}')?.click()")
    opened.value(
        f"(() => {{ const filter = document.querySelector('#table thead input{name}');"
        "if (!filter) return; filter.value = 'layers.3.';"
        "filter.dispatchEvent(new Event('input')); })()"
    )
    for view in ("deviation", "lines", "map"):
        opened.value(
            "(() => { const [, view] = document.querySelectorAll('#maps select');"
            f"if (!view) return; view.value = '{view}';"
            "view.dispatchEvent(new Event('change')); })()"
        )

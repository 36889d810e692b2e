"""What the sampler of a job costs: processor time of its thread, as a share of the time.

    python benchmarks/sampler.py [--seconds 62]

Watches a job that does nothing, then one whose cores are busy, at one sample a second, with every
kind of rule. Exit code 1 if either takes more than 1 %.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

import click
import numpy as np
from _results import out_option, publish, rounded

from mlx_probe.core.machine import usable_cores
from mlx_probe.runs.monitor.sample import JobState
from mlx_probe.runs.monitor.samples import read_recording
from mlx_probe.runs.monitor.watch import JobMonitor, WatchConfig

COLUMNS = ("cores", "seconds", "samples", "share of a core, %")
RULES = (
    *("memory above 99% pause", "process above 99% stop", "swap growing warn"),
    *("disk below 1MB stop", "bandwidth below 1KB warn", "others above 100% pause"),
)


def busy(end: threading.Event) -> None:
    matrix = np.ones((256, 256))
    while not end.is_set():
        matrix @ matrix


def measure(seconds: float, workers: int) -> tuple[int, float]:
    """Number of samples, and the share of one core that the thread took for them."""
    end, began = threading.Event(), time.monotonic()
    threads = [threading.Thread(target=busy, args=(end,)) for _ in range(workers)]

    def state() -> JobState:
        passed = time.monotonic() - began
        return JobState(int(passed * 1e9), 10**12, "a tensor", int(passed * 1e9), passed)

    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "monitor.samples.jsonl"
        config = WatchConfig(alert=RULES)
        with JobMonitor(
            "bench", "m", state, config=config, folder=Path(folder), lines=lines
        ) as watch:
            for thread in threads:
                thread.start()
            clock = time.perf_counter()
            time.sleep(seconds)
            share = watch.sampler.cpu_seconds / (time.perf_counter() - clock)
            end.set()
        return len(read_recording(lines).samples), share


@click.command()
@click.option("--seconds", default=62.0, show_default=True)
@out_option
def main(seconds: float, out: Path) -> None:
    """Measure the sampler's thread."""
    most, rows = 0.0, []
    for what, workers in (("idle", 0), ("all busy", usable_cores())):
        samples, share = measure(seconds, workers)
        most = max(most, share)
        rows.append((what, seconds, samples, rounded(100 * share)))
    note = f"One sample a second, {len(RULES)} rules: one of each kind."
    publish("sampler", COLUMNS, rows, note, out)
    sys.exit(most > 0.01)


if __name__ == "__main__":
    main()

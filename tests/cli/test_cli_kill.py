"""`kill -9` of a real process, at an exact row."""

import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
from tinymodel import comparable, run

import mlx_probe

pytestmark = pytest.mark.slow

# The command in a process that kills itself when the given number of rows is on disk.
SUICIDAL = """
import os, signal
from importlib import import_module
from mlx_probe.cli import main, progress
from mlx_probe.analysis import order
from mlx_probe.analysis.progress import Silent

# Each weight is a task, however tiny.
order.TINY_TOGETHER = 1

class Killer(Silent):
    rows = int(os.environ["KILL_AFTER"])
    def finish(self, weight, usage):
        self.rows -= 1
        if not self.rows:
            os.kill(os.getpid(), signal.SIGKILL)

import_module("mlx_probe.cli.analyze").watch = lambda quiet: Killer()
main()
"""


@pytest.mark.parametrize("rows", [1, 12])
def test_a_killed_run_goes_on_where_it_was(tiny, whole, tmp_path, rows):
    command = ["analyze", tiny, "--metrics", "full", "--backend", "numpy", "--out", tmp_path]
    killed = subprocess.run(
        [sys.executable, "-c", SUICIDAL, *map(str, command)],
        env={**os.environ, "KILL_AFTER": str(rows)},
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "run_meta.json").exists()
    again = run(*command)
    assert again.returncode == 0, again.stderr
    there = "1 row is" if rows == 1 else f"{rows} rows are"
    assert f"{there} there already" in again.stderr
    logs = "".join(path.read_text("utf-8") for path in sorted(tmp_path.glob("analyze_*.log")))
    assert f"resuming: {rows} of 17 rows are there" in logs
    # Each tensor was measured once. The lines of the last quarter of a second before a kill
    # are not on disk; those of the second process are.
    names = whole.load().param_name.unique()
    labels = [
        label
        for name in names
        for label in ([f"{name}[{i}]" for i in range(3)] if "experts" in name else [name])
    ]
    second = logs[logs.index("resuming: ") :]
    lines = [f" INFO mlx_probe.runs.job: {label}: " for label in labels]
    assert all(logs.count(line) <= 1 for line in lines)
    assert sum(second.count(line) for line in lines) == len(labels) - rows
    frame = mlx_probe.load_run(tmp_path)
    assert frame.attrs["meta"]["resumed_rows"] == rows
    pd.testing.assert_frame_equal(comparable(frame), comparable(whole.load()))

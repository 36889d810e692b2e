"""A folder that is written is whole, or not there: full disks, kills, folders of somebody else."""

import errno
import signal
import subprocess
import sys

import pytest
from lab import mlx_lm

from mlx_probe.core.errors import ConfigError, ProbeError, ResultError
from mlx_probe.lab import tensor_stream
from mlx_probe.lab.budget import export as export_module
from mlx_probe.lab.budget.export import export_budget
from mlx_probe.lab.budget.perplexity import TextConfig
from mlx_probe.lab.budget.plan import plan_budget
from mlx_probe.lab.budget.records import Goal


@pytest.fixture(scope="module")
def plan(tiny):
    mlx_lm("utils")
    options = {"bits": (4,), "groups": (32,), "modes": ("affine",), "device": "cpu"}
    return plan_budget(str(tiny.model), Goal(error=0.3), kinds=("bits",), **options)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_leaves_the_old_model(tmp_path, plan, monkeypatch):
    out = tmp_path / "out"
    export_budget(plan, out)
    before = content(out)

    def full(file, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tensor_stream, "write_all", full)
    with pytest.raises(ResultError, match="No space left"):
        export_budget(plan, out)
    assert content(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("moment", ["write_shards", "squared_errors", "_record"])
def test_ctrl_c_leaves_nothing(tmp_path, plan, monkeypatch, moment):
    real = getattr(export_module, moment)

    def ended(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, moment, ended)
    with pytest.raises(KeyboardInterrupt):
        export_budget(plan, tmp_path / "out")
    assert not list(tmp_path.iterdir())


# Not a fork of this process, in which MLX's threads would be missing.
KILLED = """
import os, signal, sys
from pathlib import Path
from mlx_probe.lab.budget import export
from mlx_probe.lab.budget.plan import plan_budget
from mlx_probe.lab.budget.records import Goal
export.squared_errors = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
plan = plan_budget(sys.argv[1], Goal(error=0.3), kinds=("bits",), bits=(4,), groups=(32,))
export.export_budget(plan, Path(sys.argv[2]))
"""


def test_a_kill_leaves_no_model_and_the_next_call_writes_it(tmp_path, plan, tiny):
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tiny.model), str(out)], check=False, timeout=120
    )
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    assert export_budget(plan, out).bytes == plan.after
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_not_ours_stays(tmp_path, plan, tiny):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years")
    (tmp_path / "file").write_text("x")
    for out, kind in (
        (tmp_path / "other", ResultError),
        (tmp_path / "file", ResultError),
        (tiny.model, ConfigError),
        (tiny.model.parent, ConfigError),
    ):
        with pytest.raises(kind):
            export_budget(plan, out)
    assert content(tmp_path / "other") == {"thesis.tex": b"years"}


def test_a_text_that_is_not_there_is_refused_before_the_work(tmp_path, plan, monkeypatch):
    monkeypatch.setattr(export_module, "rewrite", None)
    with pytest.raises(ProbeError, match="no-such-text"):
        export_budget(plan, tmp_path / "out", TextConfig(str(tmp_path / "no-such-text.txt")))
    assert not list(tmp_path.iterdir())

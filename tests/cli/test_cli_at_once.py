"""Real processes at once: runs touch nothing of each other, and the same run runs once."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from tinymodel import COMMAND, refused, run
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe.analysis.validate import validate_run

pytestmark = pytest.mark.slow

OPTIONS = ("--backend", "numpy", "--metrics", "basic")

# The command in a process that waits after its second row until a file is there.
HELD = """
import os, time
from importlib import import_module
from mlx_probe.cli import main
from mlx_probe.analysis import order
from mlx_probe.analysis.progress import Silent

# Each weight is a task, however tiny.
order.TINY_TOGETHER = 1

class Held(Silent):
    rows = 0
    def finish(self, weight, usage):
        self.rows += 1
        if self.rows == 2:
            open(os.environ["HELD"], "w").close()
            while not os.path.exists(os.environ["GO"]):
                time.sleep(0.01)

import_module("mlx_probe.cli.analyze").watch = lambda quiet: Held()
main()
"""


def write_model(folder, seed):
    folder.mkdir()
    rng = np.random.default_rng(seed)
    layers = {
        f"model.layers.{i}.mlp.up_proj.weight": (rng.standard_normal((6, 4), np.float32), "F32")
        for i in range(4)
    }
    write_safetensors(folder / "model.safetensors", layers)
    return folder / "model.safetensors"


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Two files of one name in two folders, and the folder that the commands run in."""
    monkeypatch.chdir(tmp_path)
    return [write_model(tmp_path / name, seed) for seed, name in enumerate("xy")]


def start(*arguments):
    command = [COMMAND, *map(str, arguments), *OPTIONS]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(process):
    stdout, stderr = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def digests(folder):
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_models_of_one_file_name_and_options_keep_apart(models, tmp_path):
    runs = [(model, tol) for model in models for tol in ("1e-6", "1e-3")]
    started = [start("analyze", model, "--rank-tol", tol) for model, tol in runs]
    for process in started:
        assert outcome(process).returncode == 0
    outputs = tmp_path / "data/outputs"
    assert {path.name for path in outputs.iterdir()} == {"x", "y"}
    folders = [meta.parent for meta in outputs.glob("*/2*/run_meta.json")]
    assert len(folders) == 4
    seen = set()
    for folder in folders:
        assert all(check.passed for check in validate_run(folder))
        meta = json.loads((folder / "run_meta.json").read_text("utf-8"))
        assert meta["model"]["id"] == folder.parent.name
        seen.add((meta["model"]["path"], meta["configuration"]["rank_tol"]))
        assert set(mlx_probe.load_run(folder).model_id) == {folder.parent.name}
    assert seen == {(str(model), float(tol)) for model, tol in runs}


def test_of_two_models_at_once_into_one_folder_one_is_refused(models, tmp_path):
    started = [start("analyze", model, "--out", "one") for model in models]
    ends = [outcome(process) for process in started]
    assert sorted(end.returncode for end in ends) == [0, 1]
    (lost,) = [end for end in ends if end.returncode]
    refused(lost, "--out")
    assert all(check.passed for check in validate_run(tmp_path / "one"))
    meta = json.loads((tmp_path / "one/run_meta.json").read_text("utf-8"))
    won = models[ends.index(next(end for end in ends if not end.returncode))]
    assert meta["model"]["path"] == str(won)


@pytest.mark.parametrize("out", [(), ("--out", "one")])
def test_the_same_run_at_once_runs_once(models, tmp_path, out):
    held, go = tmp_path / "held", tmp_path / "go"
    command = ["analyze", str(models[0]), *out, *OPTIONS]
    first = subprocess.Popen(
        [sys.executable, "-c", HELD, *command],
        env={**os.environ, "HELD": str(held), "GO": str(go)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = tmp_path / (out[1] if out else "data")
    until = time.monotonic() + 60
    # The plan is written beside the first weights.
    while not (held.exists() and list(folder.rglob("plan.json"))) and time.monotonic() < until:
        time.sleep(0.02)
    before = digests(folder)
    second = run(*command)
    assert second.returncode == 1
    refused(second, f"another run is writing here (pid {first.pid})", "mlx-probe monitor")
    after = digests(folder)
    # The first one goes on writing its journal and samples.
    assert after.keys() == before.keys()
    go.touch()
    assert outcome(first).returncode == 0
    (meta,) = tmp_path.glob("one/run_meta.json" if out else "data/outputs/x/2*/run_meta.json")
    assert all(check.passed for check in validate_run(meta))


def test_a_run_that_was_killed_is_found_without_its_folder(models, tmp_path):
    script = HELD.replace('open(os.environ["HELD"], "w").close()', "os.kill(os.getpid(), 9)")
    command = ["analyze", str(models[0]), *OPTIONS]
    killed = subprocess.run([sys.executable, "-c", script, *command], timeout=60, check=False)
    assert killed.returncode == -9
    (begun,) = (tmp_path / "data/outputs/x").iterdir()
    assert not (tmp_path / "data/outputs/x/latest").exists()
    assert run("analyze", models[1], *OPTIONS).returncode == 0
    again = run(*command)
    assert again.returncode == 0, again.stderr
    assert "2 rows are there already" in again.stderr
    assert "2 starts" in again.stdout
    meta = mlx_probe.load_run(tmp_path / "data/outputs/x").attrs["meta"]
    assert (meta["resumed_rows"], meta["total"]["starts"]) == (2, 2)
    assert [path.name for path in (tmp_path / "data/outputs/x").glob("2*")] == [begun.name]


def test_a_tree_of_runs_can_be_moved(models, tmp_path):
    assert run("analyze", models[0], *OPTIONS).returncode == 0
    shutil.move(tmp_path / "data", tmp_path / "moved")
    assert len(mlx_probe.load_run(tmp_path / "moved/outputs/x/latest")) == 4

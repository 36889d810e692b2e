"""`runs sweep` of real trainings, killed in the middle."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from browser import PATH, Browser
from models import invoke
from tinymodel import COMMAND, heed_ctrl_c
from training import recipe_with, write_tokens

from mlx_probe.lab.settings import settings_to_yaml

pytestmark = pytest.mark.slow
SWEEP = """\
command: train --config recipe.yaml --data tokens --device cpu
metric: val_loss
parameters:
  train.learning_rate: [1e-4, 3e-3, 1e-2]
  train.warmup: [1, 3]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    write_tokens(tmp_path)
    recipe = recipe_with(steps=12, evaluate_every=6)
    (tmp_path / "recipe.yaml").write_text(settings_to_yaml(recipe))
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entries(folder):
    text = (folder / "sweep.jsonl").read_text() if (folder / "sweep.jsonl").exists() else ""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [(line["trial"], line["state"]) for line in lines[1:]]


def processes_of(folder):
    """Processes whose command names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if (
            any(str(folder).encode() in word for word in words)
            and int(path.parent.name) != os.getpid()
        ):
            found.append(int(path.parent.name))
    return found


def wait(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_killed_sweep_of_six_trainings_finds_the_best_and_shows_all(here, tmp_path_factory):
    out = here / "sweep"
    words = [COMMAND, "runs", "sweep", "sweep.yaml", "--out", "sweep", "--workers", "2", "--quiet"]
    process = subprocess.Popen(words, start_new_session=True)
    wait(lambda: sum(state == "finished" for _, state in entries(out)) >= 2)
    # In the middle of a training.
    wait(lambda: any(
        (out / "trials" / f"{number:03}" / "metrics.jsonl").exists()
        for number, state in entries(out)[-2:]
        if state == "started"
    ))  # fmt: skip
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    killed = entries(out)
    assert not (out / "run_meta.json").exists()
    # What it had started ends too.
    wait(lambda: not processes_of(out / "trials"))
    result = invoke("runs", "sweep", "sweep.yaml", "--out", "sweep", "--workers", "2", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert [trial["state"] for trial in document["trials"]] == ["finished"] * 6
    again = entries(out)[len(killed) :]
    finished = {number for number, state in killed if state == "finished"}
    assert finished
    assert not finished & {number for number, _ in again}
    losses = {}
    for trial in document["trials"]:
        meta = json.loads((Path(trial["folder"]) / "run_meta.json").read_text())
        losses[trial["trial"]] = meta["final"]["val_loss"]
        assert trial["value"] == losses[trial["trial"]]
        assert str(meta["recipe"]["train"]["warmup"]) == trial["settings"]["train.warmup"]
        assert len((Path(trial["folder"]) / "metrics.jsonl").read_text().splitlines()) == 13
    assert document["best"]["trial"] == min(losses, key=losses.get)
    meta = json.loads((out / "run_meta.json").read_text())
    assert (meta["kind"], meta["metrics"]["finished"]) == ("sweep", 6)
    if PATH is None:
        pytest.skip("no Chromium")
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        browser.open(out / "sweep.html")
        browser.wait("document.querySelectorAll('#curves .js-plotly-plot').length > 0")
        assert browser.value("document.querySelectorAll('#trials circle').length") == 6
        assert browser.value("document.querySelectorAll('#settings polyline').length") == 6
        assert browser.messages == []
    shown = invoke("runs", "show", "sweep", MLX_PROBE_CATALOG=str(here / "catalog.sqlite"))
    assert "best_val_loss" in shown.stdout


def test_ctrl_c_saves_and_says_how_to_go_on(here):
    words = [COMMAND, "runs", "sweep", "sweep.yaml", "--out", "sweep"]
    process = subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    metrics = here / "sweep" / "trials" / "001" / "metrics.jsonl"
    wait(lambda: metrics.exists() and metrics.stat().st_size)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Run the same command again to go on" in said
    assert not processes_of(here / "sweep" / "trials")
    assert list((here / "sweep" / "trials" / "001" / "checkpoints").glob("step-*"))

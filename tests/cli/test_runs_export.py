"""`runs export`, as somebody types it."""

import csv
import json

import mixture_runs
import pytest
from exported_runs import STEPS, training_folder
from models import invoke

META = {
    "fingerprint": "f" * 64,
    "created_at": "2026-01-01T00:01:00+00:00",
    "total": {"seconds": 30.5},
    "planned_steps": 2,
    "steps_done": 2,
    "final": {"val_loss": 6.5},
    "recipe": {"train": {"learning_rate": 0.003}},
}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A training, a run of `moe signals`, and one that has not begun; the catalog is new."""
    monkeypatch.setenv("MLX_PROBE_CATALOG", str(tmp_path / "catalog.sqlite"))
    monkeypatch.chdir(tmp_path)
    training_folder(tmp_path / "narrow", STEPS[:3], **META)
    mixture_runs.make_signals(tmp_path / "signals")
    training_folder(tmp_path / "begun", [])
    return tmp_path


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_runs_are_written_with_tags_and_notes(runs):
    assert invoke("runs", "tag", "narrow", "baseline", "paper").exit_code == 0
    assert invoke("runs", "note", "narrow", "The first one").exit_code == 0
    result = invoke("runs", "export", "narrow", "signals", "--to", "csv")
    assert result.exit_code == 0, result.output
    (narrow,) = (runs / "data/exports/csv").glob("narrow-*")
    (signals,) = (runs / "data/exports/csv").glob("signals-*")
    assert (
        result.stdout
        == f"narrow: {narrow.relative_to(runs)}\nsignals: {signals.relative_to(runs)}\n"
    )
    assert [int(row["step"]) for row in rows(narrow / "metrics.csv")] == [0, 1, 2]
    about = {(row["section"], row["name"]): row["value"] for row in rows(narrow / "run.csv")}
    assert about["run", "tags"] == "baseline, paper"
    assert about["run", "note"] == "The first one"
    # Windows are its steps.
    windows = rows(signals / "metrics.csv")
    assert [int(row["step"]) for row in windows] == list(range(12))
    assert float(windows[3]["loss"]) > 0


def test_what_fails_is_listed_and_the_others_are_written(runs):
    result = invoke("runs", "export", "begun", "nowhere", "narrow", "--to", "tensorboard", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert [each["run"] for each in document["failed"]] == ["begun", "nowhere"]
    assert "begun has no numbers yet (interrupted)" in document["failed"][0]["reason"]
    assert document["show"] == "tensorboard --logdir data/exports/tensorboard"
    (written,) = document["written"]
    assert written["steps"] == 3
    assert "there is no run 'nowhere'" in result.stderr


def test_wandb_gets_a_command_for_each_run(runs):
    result = invoke("runs", "export", "narrow", "--to", "wandb", "--out", "my exports")
    assert result.exit_code == 0, result.output
    command = result.stdout.splitlines()[1]
    assert command.startswith(
        "  uvx wandb==0.29.0 sync --sync-tensorboard --project mlx-probe --id"
    )
    (folder,) = (runs / "my exports").iterdir()
    assert command.endswith(f" 'my exports/{folder.name}'")
    assert [path.name for path in folder.iterdir()] == ["metrics"]


def test_an_unknown_tool_is_refused(runs):
    result = invoke("runs", "export", "narrow", "--to", "excel")
    assert result.exit_code == 2
    assert "excel" in result.stderr

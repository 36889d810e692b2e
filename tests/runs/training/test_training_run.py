"""What is read of a training run: finished, at work, interrupted, damaged."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from training_runs import LOST, SNAPSHOTS, STEPS, make_run, metric_lines, write_metrics

import mlx_probe
from mlx_probe.core.errors import ResultError
from mlx_probe.runs.training import run as training_run
from mlx_probe.runs.training.folder import is_training
from mlx_probe.runs.training.metrics import metrics_frame


@pytest.fixture
def small(tmp_path):
    """A run without snapshots."""
    return make_run(tmp_path / "small", snapshots=())


def test_the_numbers_are_those_of_the_files(trained):
    run = mlx_probe.load_training_run(trained)
    lines = metric_lines()
    assert (run.state, run.steps_done, run.planned_steps) == ("finished", STEPS, STEPS)
    assert len(run.metrics) == len(lines)
    for name in ("train_loss", "grad_norm", "val_bpb", "seconds"):
        expected = [line.get(name, np.nan) for line in lines]
        np.testing.assert_array_equal(run.metrics[name], expected)
    assert list(run.samples["step"]) == [100, 200, 300]
    assert tuple(run.snapshots) == SNAPSHOTS
    alone = mlx_probe.load_run(run.snapshots[150])
    rows = run.over_time[run.over_time["step"] == 150]
    assert list(rows["param_name"]) == list(alone["param_name"])
    np.testing.assert_array_equal(rows["stable_rank"], alone["stable_rank"])
    kept = mlx_probe.load_spectra(run.snapshots[150]).set_index("param_name")["singular_values"]
    own = run.spectra(150).set_index("param_name")["singular_values"]
    np.testing.assert_array_equal(own[LOST], kept[LOST])
    with pytest.raises(ResultError, match="no measured snapshot of step 7"):
        run.spectra(7)


@pytest.mark.parametrize("name", ["", "run_meta.json", "metrics.jsonl"])
def test_a_run_has_three_names(trained, name):
    assert mlx_probe.load_training_run(trained / name).folder == trained


def test_a_run_that_is_at_work(trained, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (folder / "run_meta.json").unlink()
    write_metrics(folder, metric_lines(last=130))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 131, "train_lo')
    table = parquet.read_table(folder / "spectra_over_time.parquet")
    early = table.filter(pa.compute.less(table["step"], 150))
    parquet.write_table(early, folder / "spectra_over_time.parquet")
    run = mlx_probe.load_training_run(folder)
    assert (run.state, run.steps_done, run.planned_steps) == ("interrupted", 130, STEPS)
    assert run.torn
    # What the table does not have yet comes from the snapshots' own tables.
    assert sorted(set(run.over_time["step"])) == list(SNAPSHOTS)
    assert len(run.over_time) == len(table)
    (folder / "spectra_over_time.parquet").write_bytes(b"PAR1 half of it")
    assert len(mlx_probe.load_training_run(folder).over_time) == len(table)
    for kind, state in (("tune", "running"), ("analyze", "interrupted"), ("train", "running")):
        job = type("Job", (), {"kind": kind, "folder": str(folder)})
        monkeypatch.setattr(training_run, "running_jobs", lambda job=job: [job])
        assert mlx_probe.load_training_run(folder).state == state


def test_the_end_is_known(small):
    meta = json.loads((small / "run_meta.json").read_text())
    (small / "run_meta.json").write_text(json.dumps({**meta, "stopped_early": True}))
    assert mlx_probe.load_training_run(small).state == "stopped early"
    (small / "run_meta.json").write_text(json.dumps({**meta, "steps_done": 7}))
    assert mlx_probe.load_training_run(small).state == "interrupted"


def test_a_damaged_line_is_named(small):
    lines = (small / "metrics.jsonl").read_text().splitlines()
    lines[4] = "[1]"
    (small / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ResultError, match="line 5 cannot be read"):
        mlx_probe.load_training_run(small)


def test_the_later_of_two_lines_of_a_step_counts():
    frame = metrics_frame(
        [
            {"step": 1, "train_loss": 3.0},
            {"step": 2, "train_loss": 2.0},
            {"step": 1, "train_loss": 5},
        ]
    )
    assert list(frame["train_loss"]) == [5.0, 2.0]


def test_seconds_follow_from_the_throughput():
    lines = [
        {"step": step, "tokens": 100 * step, "tokens_per_second": 50.0} for step in range(1, 4)
    ]
    assert list(metrics_frame(lines)["seconds"]) == [2.0, 4.0, 6.0]


def test_other_folders_are_none(trained, tmp_path):
    measured = trained / "snapshots" / "step-0" / "analysis"
    for path in (tmp_path, measured, measured / "run_meta.json", tmp_path / "nothing"):
        assert not is_training(path)
        with pytest.raises(ResultError, match=r"training run|does not exist"):
            mlx_probe.load_training_run(path)


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "use",
    [
        mlx_probe.load_run,
        mlx_probe.findings,
        mlx_probe.summary,
        lambda run: mlx_probe.compare_runs([run]),
    ],
    ids=["load_run", "findings", "summary", "compare-runs"],
)
def test_what_measures_models_says_what_to_name(trained, tmp_path, use, finished):
    folder = trained
    if not finished:
        folder = tmp_path / "run"
        shutil.copytree(trained, folder)
        (folder / "run_meta.json").unlink()
    with pytest.raises(ResultError) as caught:
        use(folder)
    text = f"{caught.value.fact} {caught.value.remedy}"
    assert "training run" in text
    assert str(folder / "snapshots" / "step-300" / "analysis") in text
    assert f"mlx-probe report {folder}" in text


def test_a_query_of_a_training_run_is_one_of_its_snapshots(trained):
    answer = mlx_probe.query("select count(distinct run) as runs from params", runs=[trained])
    assert answer.to_pylist() == [{"runs": len(SNAPSHOTS)}]

"""Every promise of a training run, and what is said where one is broken."""

import json
import shutil

import pyarrow as pa
import pytest
from pyarrow import parquet
from training_runs import make_run, metric_lines, write_metrics

import mlx_probe
from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import sha256_file


@pytest.fixture
def copied(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    return folder


def failed(folder):
    """Failed checks; files that a test has written anew count as written."""
    path = folder / "run_meta.json"
    meta = json.loads(path.read_text())
    for name, entry in meta["outputs"].items():
        if (folder / name).exists():
            entry["sha256"] = sha256_file(folder / name)
    path.write_text(json.dumps(meta))
    return {check.name: check.detail for check in mlx_probe.validate(folder) if not check.passed}


def test_a_run_as_it_was_written_is_valid(trained):
    checks = mlx_probe.validate(trained)
    assert len(checks) >= 10
    assert [check for check in checks if not check.passed] == []


def test_a_file_that_changed(copied):
    (copied / "samples.jsonl").write_text("")
    broken = [check.name for check in mlx_probe.validate(copied) if not check.passed]
    assert broken == ["sha256 of samples.jsonl"]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda lines: lines.pop(7), "missing: 7"),
        (lambda lines: lines.insert(8, lines[7]), "twice: 7"),
        (lambda lines: lines.pop(), "missing: 300; beyond the last step 300"),
        (lambda lines: lines.insert(3, lines.pop(9)), "not in order"),
        (lambda lines: lines.append({"tokens": 1}), "1 lines have no step"),
    ],
)
def test_steps_that_are_not_there_once(copied, change, detail):
    lines = metric_lines()
    change(lines)
    write_metrics(copied, lines)
    assert failed(copied)["steps of metrics.jsonl"] == detail


def test_a_number_that_is_not_finite(copied):
    lines = metric_lines()
    lines[9]["train_loss"] = float("nan")
    write_metrics(copied, lines)
    assert failed(copied) == {"numbers of the steps": "not finite: train_loss at step 9"}


def test_a_model_that_does_not_open(copied):
    (copied / "model" / "model.safetensors").write_bytes(b"nothing")
    assert "cannot be opened" in failed(copied)["model"]


def test_a_model_of_another_size(copied):
    path = copied / "run_meta.json"
    path.write_text(path.read_text().replace('"parameters": 66384', '"parameters": 66385'))
    assert failed(copied) == {"parameters": "66,384 parameters instead of 66,385"}


def test_snapshots_that_are_gone_or_changed(copied):
    shutil.rmtree(copied / "snapshots" / "step-10" / "analysis")
    broken = failed(copied)
    assert broken["snapshots"] == "5 snapshots are measured, and the run says 6"
    assert broken["spectra_over_time.parquet"] == "other steps than the snapshots: [10]"


def test_a_table_over_time_without_a_row(copied):
    path = copied / "spectra_over_time.parquet"
    table = parquet.read_table(path)
    parquet.write_table(pa.concat_tables([table[:40], table[41:]]), path)
    broken = failed(copied)["spectra_over_time.parquet"]
    assert broken == "step 1 has other tensors than step 0"


def test_a_run_that_is_not_finished(tmp_path):
    folder = make_run(tmp_path / "run", snapshots=(), finished=False)
    with pytest.raises(ResultError, match="not finished"):
        mlx_probe.validate(folder)

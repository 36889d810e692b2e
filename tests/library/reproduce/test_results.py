"""Results of two runs are compared part by part, to the bit."""

import json
import math

import made_runs
import pytest
import training_runs

from mlx_probe.core.errors import ResultError
from mlx_probe.library.reproduce import compare_results
from mlx_probe.library.reproduce.records import Compared
from mlx_probe.runs.experiments import read_experiment


def compared(first, second):
    found = compare_results(read_experiment(first), read_experiment(second))
    return {(each.what, each.name): each for each in found}


def stored(folder, std=0.5, **meta):
    rows = made_runs.layers(2)
    rows[1]["std"] = std
    return made_runs.store(folder, rows, **meta)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_equal_measurements(tmp_path, form):
    first = stored(tmp_path / "a", form="parquet", mean_gbps=1.0, summary={"alpha": 2.0})
    second = stored(tmp_path / "b", form=form, mean_gbps=2.0, summary={"alpha": 2.0})
    found = compared(first, second)
    assert all(each.equal for each in found.values())
    assert ("metric", "alpha") in found
    assert ("column", "std") in found
    assert not [name for _, name in found if "seconds" in name or "gbps" in name]


@pytest.mark.parametrize("now", [math.nextafter(0.5, 1), 0.75, float("nan"), -0.0])
def test_a_number_that_differs_is_named(tmp_path, now):
    before = 0.0 if now == 0 else 0.5
    found = compared(stored(tmp_path / "a", before), stored(tmp_path / "b", now))
    differing = [name for name, each in found.items() if not each.equal]
    assert differing == [("column", "std")]
    one = found["column", "std"]
    if math.isnan(now):
        assert one.reason == "1 numbers are there in one alone"
        assert not one.is_within(1.0)
    else:
        assert one.difference == abs(now - before)
        assert one.is_within(1.0)
        assert not one.is_within(0)


def test_other_rows_columns_and_text(tmp_path):
    first = made_runs.store(tmp_path / "a", made_runs.layers(2))
    fewer = compared(first, made_runs.store(tmp_path / "b", made_runs.layers(1)))
    assert fewer["column", "rows"].reason == "6 rows before, 3 now"
    rows = made_runs.layers(2)
    rows[2]["status_reason"] = "because"
    said = compared(first, made_runs.store(tmp_path / "c", rows))["column", "status_reason"]
    assert said.reason == "1 rows differ, the first 2: None, now 'because'"


def test_trainings(tmp_path):
    first = training_runs.make_run(tmp_path / "a", snapshots=())
    second = training_runs.make_run(tmp_path / "b", snapshots=(), created_at="2026-02-01T00:00:00")
    lines = training_runs.metric_lines()
    # What a step took differs, and is no result.
    for line in lines[1:]:
        line["tokens_per_second"] *= 2
    training_runs.write_metrics(second, lines)
    found = compared(first, second)
    assert all(each.equal for each in found.values()), found
    assert {("curve", "train_loss"), ("file", "model/model.safetensors")} <= found.keys()
    lines[-1]["train_loss"] += 0.25
    training_runs.write_metrics(second, lines)
    other = compared(first, second)["curve", "train_loss"]
    assert other.difference == pytest.approx(0.25)
    third = training_runs.make_run(tmp_path / "c", seed=1, snapshots=())
    other = compared(first, third)["file", "model/model.safetensors"]
    assert other.reason == "its bytes differ"


def test_what_cannot_be_compared(tmp_path):
    first = stored(tmp_path / "a")
    trained = training_runs.make_run(tmp_path / "t", snapshots=())
    with pytest.raises(ResultError, match="is of analyze"):
        compared(first, trained)
    begun = training_runs.make_run(tmp_path / "u", snapshots=(), finished=False)
    with pytest.raises(ResultError, match="is interrupted"):
        compared(trained, begun)


def test_small_runs_by_numbers_and_files(tmp_path):
    def small(name, loss, weights):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(weights)
        meta = {
            "kind": "graft",
            "metrics": {"loss_after": loss},
            "outputs": {"model.safetensors": {"bytes": len(weights)}, "../../etc/passwd": {}},
        }
        (folder / "run_meta.json").write_text(json.dumps(meta), "utf-8")
        return folder

    first = small("a", 1.0, b"abcd")
    assert all(each.equal for each in compared(first, small("b", 1.0, b"abcd")).values())
    found = compared(first, small("c", 1.5, b"abce"))
    assert found["metric", "loss_after"] == Compared("metric", "loss_after", False, 0.5, 1 / 3)
    assert found["file", "model.safetensors"].reason == "its bytes differ"
    assert len(found) == 2

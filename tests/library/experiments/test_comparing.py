"""Runs side by side, and the best of them."""

import pytest
from experiment_runs import analysis, training

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.experiments import load_runs, scan_experiments
from mlx_probe.library.experiments.best import best_runs
from mlx_probe.library.experiments.comparing import compare_runs_of, diff_runs
from mlx_probe.library.experiments.directions import DIRECTIONS, direction_of, main_metric


@pytest.fixture
def runs(database, tmp_path):
    root = tmp_path / "runs"
    packages = {"numpy": "2.0"}
    training(root / "a", loss=3.0, lr=0.001, day=1, environment={"python": "3.11", **packages})
    training(root / "b", loss=2.5, lr=0.01, day=2, code="c" * 40, environment=packages)
    training(root / "c", loss=2.5, lr=0.01, day=3, dtype="bfloat16")
    analysis(root / "d", day=4)
    scan_experiments(database, [root])
    return {run.name: run for run in load_runs(database)}


def test_settings_and_numbers_side_by_side(runs):
    found = compare_runs_of([runs["a"], runs["b"], runs["c"]])
    assert found.differing == {
        "train.lr": (0.001, 0.01, 0.01),
        "dtype": (None, None, "bfloat16"),
    }
    assert found.same == {"train.steps": 4, "model.dim": 32}
    assert found.metrics["val_loss"] == (3.0, 2.5, 2.5)
    assert next(iter(found.metrics)) == "val_loss"
    mixed = compare_runs_of([runs["a"], runs["d"]])
    assert mixed.differing["spectrum"] == (None, "exact")
    assert mixed.metrics["rows"] == (None, 3.0)
    assert compare_runs_of([runs["a"]]).differing == {}
    assert compare_runs_of([]).describe() == {
        "runs": [], "differing": {}, "same": {}, "metrics": {},
    }  # fmt: skip


def test_true_is_not_one(database, tmp_path):
    analysis(tmp_path / "r" / "x", configuration={"a": True, "b": 1}, day=1)
    analysis(tmp_path / "r" / "y", configuration={"a": 1, "b": 1.0}, day=2)
    scan_experiments(database, [tmp_path / "r"])
    found = compare_runs_of(load_runs(database))
    assert (set(found.differing), set(found.same)) == ({"a"}, {"b"})


def test_what_differs_between_two(runs):
    found = diff_runs(runs["a"], runs["b"])
    assert [(pair.name, pair.a, pair.b) for pair in found.config] == [("train.lr", 0.001, 0.01)]
    assert {pair.name: (pair.a, pair.b) for pair in found.environment} == {
        "code": (None, "c" * 40),
        "python": ("3.11", None),
    }
    assert found.inputs == ()
    assert [(p.name, p.a, p.b, p.better) for p in found.metrics] == [("val_loss", 3.0, 2.5, "b")]
    assert (found.same["inputs"], found.same["config"]) == (1, 2)
    other = diff_runs(runs["a"], runs["d"])
    assert {pair.name for pair in other.inputs} == {"data", "model"}
    assert not any(pair.better for pair in other.metrics)


def test_the_best_run(runs):
    every = list(runs.values())
    best = best_runs(every, every, "val_loss")
    assert (best.direction, best.value, best.missing) == ("min", 2.5, 1)
    # A tie: the newest first.
    assert [run.name for run in best.runs] == ["c", "b"]
    assert [run.name for run, _ in best.ranked] == ["c", "b", "a"]
    assert best_runs(every, every, "metrics.val_loss", "max").value == 3.0
    with pytest.raises(ConfigError, match="larger or a smaller alpha") as e:
        best_runs(every, every, "alpha")
    assert "--max" in e.value.remedy
    with pytest.raises(ConfigError, match="no run has") as e:
        best_runs(every, every, "val_los")
    assert "val_loss" in e.value.remedy
    with pytest.raises(ResultError, match="none of the 1 runs"):
        best_runs([runs["d"]], every, "val_loss")


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("val_loss", "min"),
        ("best_val_loss", "min"),
        ("function_calls.accuracy", "max"),
        ("p99_ttft_ms", "min"),
        ("mean_e2el_ms", "min"),
        ("ttft_p99", "min"),
        ("output_throughput", "max"),
        ("tokens_per_second", "max"),
        ("alpha", ""),
        ("loss_of_interest", ""),
        ("", ""),
    ],
)
def test_directions(metric, direction):
    assert direction_of(metric) == direction


def test_the_main_metric():
    assert main_metric({"bytes": 1.0, "val_loss": 2.0}) == "val_loss"
    assert main_metric({"alpha": 1.0}) == ""
    assert set(DIRECTIONS.values()) == {"min", "max"}

"""A comparison as a job: workers, memory limit, files, interruption and validation."""

import json

import numpy as np
import pandas as pd
import pytest
from pairs import UP, rows_of, saved

import mlx_probe
from mlx_probe.analysis.compare.checks import validate_comparison
from mlx_probe.analysis.compare.columns import COLUMNS
from mlx_probe.analysis.compare.compare import compare
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.measure import PairMeasurer
from mlx_probe.analysis.compare.pairing import pair_checkpoints
from mlx_probe.analysis.compare.scope import scope_of
from mlx_probe.analysis.stages import STAGES
from mlx_probe.core.errors import ConfigError, Interrupted, ResultError
from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.runs.outputs import verify_hashes
from mlx_probe.runs.table import WRITERS


def test_the_same_for_any_number_of_workers(arrays, base, tmp_path, rng):
    tuned = {n: x + 0.1 * rng.standard_normal(x.shape).astype("f4") for n, x in arrays.items()}
    folder = saved(tmp_path / "tuned", tuned)
    frames = [
        rows_of(base, folder, tmp_path / f"out{n}", workers=n).drop(columns="compute_seconds")
        for n in (1, 3)
    ]
    pd.testing.assert_frame_equal(*frames)


def test_a_memory_limit_costs_vectors_then_spectra(arrays, tmp_path, rng, backend):
    tuned = {UP: arrays[UP] + rng.standard_normal(arrays[UP].shape).astype("f4")}
    a, b = saved(tmp_path / "a", {UP: arrays[UP]}), saved(tmp_path / "b", tuned)
    config = CompareConfig()
    with mlx_probe.open_checkpoint(a) as first, mlx_probe.open_checkpoint(b) as second:
        (pair,) = pair_checkpoints(first, second)
        full = scope_of(pair, config, 1 << 40, backend)
        assert (full.spectrum, full.vectors, full.reason) == (True, True, None)
        less = scope_of(pair, config, full.nbytes - 1, backend)
        assert (less.spectrum, less.vectors) == (True, False)
        assert less.nbytes < full.nbytes
        least = scope_of(pair, config, less.nbytes - 1, backend)
        assert (least.spectrum, least.vectors) == (False, False)
        measurer = PairMeasurer(config, UsageMeter(STAGES), backend)
        values = [measurer.measure(pair, scope) for scope in (full, less, least)]
    assert [v.get("left_overlap") is None for v in values] == [False, True, True]
    assert [v.get("delta_rank") is None for v in values] == [False, False, True]
    assert [v["missing_reason"] is None for v in values] == [True, False, False]
    assert len({v["relative_change"] for v in values}) == 1
    with pytest.raises(ConfigError, match="memory limit"):
        compare(a, b, out=tmp_path / "out", config=CompareConfig(memory_limit=1000))
    assert not (tmp_path / "out").exists()


def test_what_a_run_leaves(base, tmp_path):
    run = compare(base, base, out=tmp_path, formats=list(WRITERS))
    (log,) = tmp_path.glob("compare_*Z.log")
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"compare.{kind}" for kind in WRITERS),
        log.name,
        "compare.monitor.parquet",
        "compare.plan.json",
        "compare.run_meta.json",
    }
    meta = json.loads(run.meta_path.read_text())
    assert meta["kind"] == "compare"
    assert meta["models"]["a"]["path"] == meta["models"]["b"]["path"] == str(base)
    assert meta["configuration"]["intruder_epsilon"] == 0.5
    assert meta["rows_by_status"] == {"identical": 11}
    assert all(check.passed for check in verify_hashes(tmp_path, meta))
    frames = [mlx_probe.load_run(tmp_path / f"compare.{kind}") for kind in WRITERS]
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frames[0], frame)
    assert list(frames[0].columns) == [column.name for column in COLUMNS]


def test_a_named_file_keeps_its_name(base, tmp_path):
    run = compare(base, base, out=tmp_path / "params.jsonl")
    assert (run.meta_path.name, run.outputs[0].name) == ("run_meta.json", "params.jsonl")


def test_every_column_is_described():
    names = [column.name for column in COLUMNS]
    assert len(names) == len(set(names))
    assert all(column.description for column in COLUMNS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank_tol": 0.0},
        {"directions": -1},
        {"intruder_directions": 0},
        {"intruder_epsilon": float("nan")},
        {"workers": -1},
        {"memory_limit": -1},
        {"include": ("nothing*",)},
    ],
)
def test_nonsense_is_refused(base, tmp_path, wrong):
    with pytest.raises(ConfigError):
        compare(base, base, out=tmp_path / "out", config=CompareConfig(**wrong))
    assert not (tmp_path / "out").exists()


def test_an_interrupted_comparison_goes_on_where_it_stopped(base, tmp_path, arrays):
    other = saved(tmp_path / "other", {name: x * np.float32(1.5) for name, x in arrays.items()})
    seen = []

    def stop(done, total, label):
        seen.append(label)
        if done == 3:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(Interrupted, match="3 of 11 rows are saved in"):
        compare(base, other, out=out, on_row=stop)
    kept = sorted(path.name.split(".")[-2:] for path in out.glob("compare.*"))
    assert kept == [["partial", "jsonl"], ["plan", "json"], ["samples", "jsonl"]]
    (log,) = out.glob("compare_*.log")
    assert "interrupted after 3 of 11 rows" in log.read_text("utf-8")
    with pytest.raises(ResultError, match="Run the same command of mlx-probe again"):
        mlx_probe.load_run(out)
    again = []
    run = compare(base, other, out=out, on_row=lambda done, total, label: again.append(label))
    assert run.meta["resumed_rows"] == 3
    assert len(again) == len(arrays) - 3
    assert not set(again) & set(seen)
    assert not list(out.glob("*.partial.jsonl"))
    whole = compare(base, other, out=tmp_path / "whole")
    columns = ["param_name", "status", "relative_change", "cosine", "delta_rank", "left_overlap"]
    pd.testing.assert_frame_equal(run.load()[columns], whole.load()[columns])
    fresh = compare(base, other, out=out, resume=False)
    assert fresh.meta["resumed_rows"] == 0


def test_a_finished_comparison_is_validated(base, tmp_path):
    run = compare(base, base, out=tmp_path)
    assert all(check.passed for check in validate_comparison(run.folder))
    with (tmp_path / "compare.csv").open("a") as file:
        file.write(" ")
    with pytest.raises(ResultError):
        validate_comparison(run.folder)


def test_include_and_exclude(base, tmp_path):
    rows = rows_of(base, base, tmp_path, include=("*layers.1*",), exclude=("*norm*",))
    assert len(rows) == 4


def test_a_comparison_has_no_one_model_to_reopen(base, tmp_path):
    run = compare(base, base, out=tmp_path)
    with pytest.raises(ResultError, match="does not name the one model"):
        mlx_probe.reopen(run.folder)

"""The spot checks of a run: done beside the last weights, and the same as those done afterwards."""

import numpy as np
import pytest
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis import spotcheck
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.progress import Silent
from mlx_probe.analysis.spotcheck import SPOT_CHECKS, expected_rows, recompute
from mlx_probe.core.errors import Interrupted

COUNT = 12


def write(folder, nonfinite=()):
    """A model of equal matrices, some with a NaN."""
    rng = np.random.default_rng(0)
    arrays = {}
    for i in range(COUNT):
        arrays[f"layers.{i}.q_proj.weight"] = rng.standard_normal((40, 30)).astype(np.float32)
        if i in nonfinite:
            arrays[f"layers.{i}.q_proj.weight"][3, 4] = np.nan
    return write_safetensors(folder / "model.safetensors", arrays)


@pytest.fixture
def path(tmp_path):
    return write(tmp_path)


@pytest.fixture
def when(monkeypatch):
    """The positions of the recomputed weights, with the number of rows that were there."""
    calls = []

    def noted(weight, config):
        calls.append((weight.label, Rows.there))
        return recompute(weight, config)

    monkeypatch.setattr(spotcheck, "recompute", noted)
    Rows.there = 0
    return calls


class Rows(Silent):
    """Counts the rows of a run, and interrupts it after some."""

    there, stop = 0, None

    def finish(self, weight, usage):
        type(self).there += 1
        if self.there == self.stop:
            raise KeyboardInterrupt


def config(**settings):
    return AnalyzeConfig(backend="numpy", workers=2, **settings)


def spot_checks_of(run):
    checks = run.meta["validation"]["checks"]
    return [check for check in checks if check["name"].startswith("spot check")]


def afterwards(path, run, settings):
    """The checks of the same table when nothing is recomputed before."""
    with mlx_probe.open_checkpoint(path) as checkpoint:
        weights = checkpoint.weights()
        checks = spotcheck.spot_check(weights, run.table, settings)
    return [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in checks]


@pytest.mark.parametrize("seed", [0, 1])
def test_weights_are_recomputed_once_before_the_table_is_made(path, tmp_path, when, seed):
    settings = config(seed=seed)
    run = mlx_probe.analyze(path, out=tmp_path / "out", config=settings, progress=Rows())
    assert len(when) == SPOT_CHECKS
    checks = spot_checks_of(run)
    assert sorted(c["name"] for c in checks) == sorted(f"spot check of {name}" for name, _ in when)
    assert checks == afterwards(path, run, settings)
    assert all(check["passed"] for check in checks)
    assert run.meta["stages"]["check"]["seconds"] > 0


def test_rows_that_are_not_ok_are_replaced_by_others(tmp_path, when):
    with mlx_probe.open_checkpoint(write(tmp_path)) as checkpoint:
        expected = expected_rows(make_plan(checkpoint, config()), {})
    bad = sorted(expected)[:2]
    path = write(tmp_path, nonfinite=bad)
    run = mlx_probe.analyze(path, out=tmp_path / "out", config=config())
    assert run.meta["rows_by_status"] == {"ok": COUNT - 2, "nonfinite": 2}
    checks = spot_checks_of(run)
    assert len(checks) == SPOT_CHECKS
    assert checks == afterwards(path, run, config())
    assert not {f"spot check of layers.{i}.q_proj.weight" for i in bad} & {
        check["name"] for check in checks
    }


def test_a_resumed_run_has_the_checks_of_one_that_was_not_interrupted(path, tmp_path, when):
    Rows.stop = 5
    with pytest.raises(Interrupted):
        mlx_probe.analyze(path, out=tmp_path / "out", config=config(), progress=Rows())
    Rows.stop = None
    when.clear()
    resumed = mlx_probe.analyze(path, out=tmp_path / "out", config=config(), progress=Rows())
    assert resumed.meta["resumed_rows"] >= 5
    assert len(when) == SPOT_CHECKS
    whole = mlx_probe.analyze(path, out=tmp_path / "whole", config=config())
    assert spot_checks_of(resumed) == spot_checks_of(whole)


def test_a_file_that_holds_nan_where_the_row_is_ok_fails(tmp_path):
    with mlx_probe.open_checkpoint(write(tmp_path, nonfinite=[3])) as checkpoint:
        result = recompute(checkpoint.weights()[3], config())
    assert result.problem == "the file holds NaN or infinite elements"


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (2, 5000), (5000, 2), (700,)])
def test_a_weight_is_recomputed_from_its_chunks_as_from_the_whole(tmp_path, monkeypatch, shape):
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    path = write_safetensors(tmp_path / "model.safetensors", {"layers.0.q_proj.weight": x})
    with mlx_probe.open_checkpoint(path) as checkpoint:
        (weight,) = checkpoint.weights()
        whole = recompute(weight, config()).values
        monkeypatch.setattr(spotcheck, "SVD_ELEMENTS", 10)
        blocks = recompute(weight, config()).values
    exact = x.astype(np.float64)
    assert whole["mean"] == pytest.approx(exact.mean(), rel=1e-12)
    assert whole["std"] == pytest.approx(exact.std(), rel=1e-12)
    if len(shape) == 2:
        sigma = np.linalg.svd(exact, compute_uv=False)
        assert whole["nuclear_norm"] == pytest.approx(sigma.sum(), rel=1e-12)
        assert whole["rank"] == min(shape)
    common = whole.keys() & blocks.keys()
    assert {"mean", "std", "min", "max", "sparsity"} <= common
    assert {name: blocks[name] for name in common} == pytest.approx(
        {name: whole[name] for name in common}, rel=1e-12
    )

"""Singular values on disk: written in groups, read back to the bit, listed in the metadata."""

import json

import numpy as np
import pytest
from matrices import orthonormal
from safetensors.numpy import save_file

import mlx_probe
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.progress import Silent
from mlx_probe.analysis.validate import validate_run
from mlx_probe.core.errors import Interrupted, ResultError
from mlx_probe.runs import spectra as spectra_module

NUMPY = AnalyzeConfig(backend="numpy")
SIGMA = np.array([5.0, 3.0, 2.0, 0.5])


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {"bias": np.ones(3, np.float32)}
    for k in range(6):
        x = orthonormal(rng, 9, 4) * (SIGMA * (k + 1)) @ orthonormal(rng, 7, 4).T
        tensors[f"model.layers.{k}.mlp.up_proj.weight"] = x.astype(np.float32)
    tensors["model.copy.weight"] = tensors["model.layers.0.mlp.up_proj.weight"].copy()
    tensors["model.wrong.weight"] = np.full((3, 3), np.nan, np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_every_matrix_has_its_singular_values(model, tmp_path):
    run = mlx_probe.analyze(model, out=tmp_path / "run", config=NUMPY)
    table, frame = run.load(), mlx_probe.load_spectra(run.folder)
    own = table[table.spectral_norm.notna() & table.alias_of.isna()]
    assert list(frame.param_name) == list(own.param_name)
    assert list(frame.spectrum_method) == list(own.spectrum_method)
    for (_, kept), (_, row) in zip(frame.iterrows(), own.iterrows(), strict=True):
        assert kept.singular_values.dtype == np.float64
        assert kept.singular_values[0] == row.spectral_norm
        assert kept.singular_values.sum() == row.nuclear_norm
        assert (kept.block_type, kept.rows, kept.cols) == (row.block_type, row.rows, row.cols)
        if ".2." in row.param_name:
            assert kept.singular_values[:4] == pytest.approx(3 * SIGMA, rel=1e-6)


def test_groups_hold_the_same(model, tmp_path, monkeypatch):
    whole = mlx_probe.analyze(model, out=tmp_path / "whole", config=NUMPY)
    monkeypatch.setattr(spectra_module, "_GROUP", 8)
    parts = mlx_probe.analyze(model, out=tmp_path / "parts", config=NUMPY)
    one, other = (mlx_probe.load_spectra(run.folder) for run in (whole, parts))
    assert [list(values) for values in one.singular_values] == [
        list(values) for values in other.singular_values
    ]
    assert list(one.param_name) == list(other.param_name)


def test_none_are_kept_when_none_are_wanted(model, tmp_path):
    config = AnalyzeConfig(backend="numpy", save_spectra=False)
    run = mlx_probe.analyze(model, out=tmp_path / "run", config=config)
    assert mlx_probe.load_spectra(run.folder) is None
    assert not (run.folder / "spectra.parquet").exists()


def test_counts_alone_have_none(model, tmp_path):
    config = AnalyzeConfig(backend="numpy", metrics="basic")
    run = mlx_probe.analyze(model, out=tmp_path / "run", config=config)
    assert mlx_probe.load_spectra(run.folder) is None


def test_a_resumed_run_keeps_those_of_its_first_part(model, tmp_path):
    class Stop(Silent):
        def __init__(self):
            self.left = 3

        def finish(self, weight, usage):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    whole = mlx_probe.analyze(model, out=tmp_path / "whole", config=NUMPY)
    with pytest.raises(Interrupted):
        mlx_probe.analyze(model, out=tmp_path / "run", config=NUMPY, progress=Stop())
    again = mlx_probe.analyze(model, out=tmp_path / "run", config=NUMPY)
    assert again.meta["resumed_rows"] >= 3
    one, other = (mlx_probe.load_spectra(run.folder) for run in (whole, again))
    assert list(one.param_name) == list(other.param_name)
    values = [np.concatenate(list(frame.singular_values)) for frame in (one, other)]
    assert np.array_equal(*values)


def test_another_name_of_the_tables_names_theirs(model, tmp_path):
    run = mlx_probe.analyze(model, out=tmp_path / "first.csv", config=NUMPY)
    assert set(run.meta["outputs"]) == {"first.csv", "first.spectra.parquet"}
    assert len(mlx_probe.load_spectra(tmp_path / "first.csv")) == 6


def test_damage_is_named(model, tmp_path):
    run = mlx_probe.analyze(model, out=tmp_path / "run", config=NUMPY)
    (run.folder / "spectra.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ResultError, match=r"spectra\.parquet"):
        mlx_probe.load_spectra(run.folder)
    checks = validate_run(run.folder)
    assert [check.name for check in checks if not check.passed] == ["sha256 of spectra.parquet"]


def test_a_run_of_before_has_no_side_tables(model, tmp_path):
    run = mlx_probe.analyze(model, out=tmp_path / "run", config=NUMPY)
    meta = json.loads(run.meta_path.read_text("utf-8"))
    meta["tables"] = None
    del meta["outputs"]["spectra.parquet"]
    run.meta_path.write_text(json.dumps(meta), "utf-8")
    assert mlx_probe.load_spectra(run.folder) is None
    assert mlx_probe.load_side_table(run.folder, "heads") is None


def test_a_side_table_is_no_run(model, tmp_path):
    run = mlx_probe.analyze(model, out=tmp_path / "run", config=NUMPY)
    with pytest.raises(ResultError, match="beside a run's main one"):
        mlx_probe.load_run(run.folder / "spectra.parquet")


def test_a_run_opens_its_model_again(model, tmp_path):
    run = mlx_probe.analyze(model, out=tmp_path / "run", config=NUMPY)
    with mlx_probe.reopen(run.folder) as checkpoint:
        assert [weight.name for weight in checkpoint.weights()] == list(run.load().param_name)
    model.unlink()
    with pytest.raises(ResultError, match="cannot be read again"):
        mlx_probe.reopen(run.folder)

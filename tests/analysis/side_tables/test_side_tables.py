"""Tables beside the main one: heads and experts of a run with the full metrics."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import mlx_probe
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.side_tables.heads.rows import head_rows
from mlx_probe.analysis.validate import validate_run
from mlx_probe.runs.table import WRITERS

FULL = AnalyzeConfig(backend="numpy", metrics="full")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Two layers of grouped attention, and a mixture of three experts in the second."""
    rng, tensors = np.random.default_rng(0), {}
    for layer in range(2):
        at = f"model.layers.{layer}.self_attn"
        for name, rows in (("q_proj", 32), ("k_proj", 16), ("v_proj", 16), ("o_proj", 32)):
            tensors[f"{at}.{name}.weight"] = rng.standard_normal((rows, 32)).astype(np.float32)
    for expert in range(3):
        at = f"model.layers.1.mlp.experts.{expert}"
        for name in ("gate_proj", "up_proj", "down_proj"):
            shape = (32, 24) if name == "down_proj" else (24, 32)
            tensors[f"{at}.{name}.weight"] = rng.standard_normal(shape).astype(np.float32)
    tensors["model.layers.1.mlp.gate.weight"] = rng.standard_normal((3, 32)).astype(np.float32)
    folder = tmp_path_factory.mktemp("model")
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "mixtral", "num_attention_heads": 4, "num_key_value_heads": 2}
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
    return folder


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return mlx_probe.analyze(model, out=out, formats=tuple(WRITERS), config=FULL)


def test_full_metrics_write_both(run):
    tables = ("params", "heads", "experts")
    expected = {f"{table}.{suffix}" for table in tables for suffix in WRITERS}
    assert set(run.meta["outputs"]) == expected | {"spectra.parquet"}
    assert run.passed
    assert all(check.passed for check in validate_run(run.folder))
    heads = mlx_probe.load_side_table(run.folder, "heads")
    assert len(heads) == 2 * 2 * 4
    assert set(heads.status) == {"ok"}
    experts = mlx_probe.load_side_table(run.folder, "experts")
    assert len(experts) == 9
    assert set(experts.status) == {"ok"}
    assert run.meta["stages"]["sides"]["seconds"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("name", ["heads", "experts"])
def test_every_format_holds_the_same(run, model, tmp_path, name, suffix):
    alone = mlx_probe.analyze(model, out=tmp_path, formats=(suffix,), config=FULL)
    one, other = (mlx_probe.load_side_table(r.folder, name) for r in (run, alone))
    assert one.equals(other)


def test_a_heads_spectrum_is_that_of_its_product(run, model):
    heads = mlx_probe.load_side_table(run.folder, "heads")
    tensors = load_file(model / "model.safetensors")
    q, k = (tensors[f"model.layers.1.self_attn.{name}_proj.weight"].astype(float) for name in "qk")
    row = heads[(heads.layer_index == 1) & (heads.circuit == "qk") & (heads.head_index == 1)]
    sigma = np.linalg.svd(q[8:16].T @ k[:8], compute_uv=False)
    assert row.spectral_norm.item() == pytest.approx(sigma[0], rel=1e-12)
    assert row["rank"].item() == 8


@pytest.mark.parametrize("name", ["heads", "experts"])
def test_every_backend_writes_the_same_tables(backend, run, model, tmp_path, name):
    config = replace(FULL, backend=backend.name, device="cpu", workers=2)
    other = mlx_probe.analyze(model, out=tmp_path, config=config)
    assert other.meta["backend"] == backend.name
    one, two = (mlx_probe.load_side_table(r.folder, name) for r in (run, other))
    pd.testing.assert_frame_equal(one, two, rtol=1e-9, atol=1e-12)


def test_other_metrics_write_none(model, tmp_path):
    run = mlx_probe.analyze(model, out=tmp_path, config=AnalyzeConfig(backend="numpy"))
    assert set(run.meta["outputs"]) == {"params.csv", "spectra.parquet"}
    assert run.meta["tables"] == {}
    assert mlx_probe.load_side_table(run.folder, "heads") is None


def test_a_layer_beyond_the_memory_limit_is_skipped(model, backend):
    with mlx_probe.open_checkpoint(model) as checkpoint:
        rows = list(
            head_rows(checkpoint.weights(), checkpoint.architecture, backend, 1e-6, 1, 1000)
        )
    assert [row["status"] for row in rows] == ["skipped", "skipped"]
    assert "the memory limit leaves 1.0 kB" in rows[0]["status_reason"]

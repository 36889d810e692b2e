"""Small models through the Python interface: rows, agreement, resuming."""

import numpy as np
import pandas as pd
import pytest
from models import disk_full_after
from tinymodel import comparable, weights
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.progress import Silent
from mlx_probe.analysis.validate import validate_run
from mlx_probe.compute import native
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.core.errors import Interrupted, ProbeError
from mlx_probe.runs.table import WRITERS

SEED_COLUMNS = (
    *("model_path", "model_id", "revision", "param_name", "layer_index", "block_type", "shape"),
    *("rows", "cols", "rank", "mean", "std", "var", "sparsity", "dtype", "created_at", "device"),
    *("backend", "framework", "code_version", "component", "expert_index", "numel", "nbytes"),
    *("read_seconds", "compute_seconds", "read_gbps", "status", "status_reason"),
)


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_every_tensor_gets_the_row_it_deserves(model, tmp_path, name):
    config = AnalyzeConfig(backend=name, device="cpu", metrics="full")
    result = mlx_probe.analyze(model, out=tmp_path / "out", formats=list(WRITERS), config=config)
    assert result.passed, result.failures
    frames = [mlx_probe.load_run(path) for path in result.outputs if path.stem == "params"]
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0])
    frame = frames[0]
    assert tuple(frame.columns[: len(SEED_COLUMNS)]) == SEED_COLUMNS
    names = list(weights(np.random.default_rng(0)))
    assert list(dict.fromkeys(frame.param_name)) == names
    by_name = frame.drop_duplicates("param_name").set_index("param_name")
    experts = frame[frame.param_name == "model.layers.0.mlp.experts.down_proj"]
    assert list(experts.expert_index) == [0, 1, 2]
    assert set(experts.component) == {"moe"}
    assert set(experts["shape"]) == {(32, 16)}
    statuses = by_name.status[by_name.status != "ok"].to_dict()
    assert statuses == {
        "model.layers.11.mlp.up_proj.weight": "nonfinite",
        "empty": "empty",
        "scalar": "scalar",
    }
    assert by_name.status_reason[list(statuses)].notna().all()
    spoilt = by_name.loc["model.layers.11.mlp.up_proj.weight"]
    assert (spoilt.nan_count, spoilt.inf_count) == (1, 1)
    assert pd.isna(spoilt["rank"])
    assert np.isfinite(spoilt["mean"])
    assert by_name.loc["model.layers.11.conv1d.weight", ["rows", "cols"]].tolist() == [32, 4]
    assert by_name.loc["lm_head.weight", "rank"] == 0
    assert by_name.loc["lm_head.weight", "condition_number"] == np.inf
    assert by_name.loc["model.layers.11.self_attn.k_proj.weight", "layer_index"] == 11
    assert by_name.loc["position_ids", "rank"] is pd.NA
    assert not list(result.folder.glob("*.partial.jsonl"))


def test_backends_agree_on_every_column(model, tmp_path):
    ours, theirs = (
        mlx_probe.analyze(
            model,
            out=tmp_path / name,
            config=AnalyzeConfig(backend=name, device="cpu", metrics="full"),
        ).load()
        for name in ("numpy", "mlx")
    )
    # Digits leave something out, and a deficient matrix's smallest values are rounding.
    own = ["backend", "device", "spectrum_error", "spectrum_method", "sigma_min"]
    ours, theirs = (comparable(f).drop(columns=[*own, "condition_number"]) for f in (ours, theirs))
    # What cancels is compared on the scale of what it cancels from: 1, and the 3 of kurtosis.
    for column, scale in (("skewness", 1), ("kurtosis", 3)):
        a, b = ours.pop(column), theirs.pop(column)
        pd.testing.assert_series_equal(a, b, rtol=1e-6, atol=1e-6 * scale)
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-6, atol=1e-8)


def test_rows_do_not_depend_on_workers_or_memory(model, tmp_path):
    first, *others = (
        mlx_probe.analyze(model, out=tmp_path / str(i), config=config).load()
        for i, config in enumerate(
            (
                AnalyzeConfig(workers=1),
                AnalyzeConfig(workers=4),
                AnalyzeConfig(workers=3, memory_limit=2**33),
            )
        )
    )
    for other in others:
        pd.testing.assert_frame_equal(comparable(other), comparable(first))


def test_metadata_says_how_the_table_was_made(model, tmp_path):
    meta = mlx_probe.analyze(model, out=tmp_path / "out").meta
    assert meta["model"]["id"] == "tiny"
    assert meta["model"]["revision"] == "local"
    assert meta["configuration"]["seed"] == 0
    assert meta["configuration"]["workers"] > 0
    assert meta["configuration"]["backend"] in BACKENDS
    assert meta["environment"]["packages"]["numpy"] == np.__version__
    assert meta["bytes_read"] == meta["bytes"] - 4  # the scalar is not read
    assert meta["peak_process_memory"] > 10_000_000
    assert meta["rows_by_status"] == {"ok": 14, "nonfinite": 1, "empty": 1, "scalar": 1}
    assert set(meta["outputs"]) == {"params.csv", "spectra.parquet"}
    assert {"measure", "validate", "write"} <= set(meta["seconds"])
    assert meta["command"]
    logs = list((tmp_path / "out").glob("analyze_*.log"))
    assert len(logs) == 1
    assert " INFO mlx_probe.runs.job: " in logs[0].read_text()


class StopAfter(Silent):
    def __init__(self, rows):
        self.rows, self.started = rows, []

    def start(self, weight):
        self.started.append(weight.name)

    def finish(self, weight, usage):
        self.rows -= 1
        if self.rows == 0:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("one_by_one")
def test_an_interrupted_run_goes_on_where_it_stopped(model, tmp_path):
    whole = mlx_probe.analyze(model, out=tmp_path / "whole").load()
    with pytest.raises(Interrupted, match="5 of 17 rows are saved"):
        mlx_probe.analyze(
            model, out=tmp_path / "out", config=AnalyzeConfig(workers=1), progress=StopAfter(5)
        )
    watcher = StopAfter(-1)
    result = mlx_probe.analyze(model, out=tmp_path / "out", progress=watcher)
    assert result.meta["resumed_rows"] == 5
    assert len(watcher.started) == 12
    pd.testing.assert_frame_equal(comparable(result.load()), comparable(whole))


@pytest.mark.skipif(not native.used(), reason="no compiled kernels here")
def test_rows_of_kernels_are_kept_from_a_run_without(model, tmp_path, monkeypatch):
    with pytest.raises(Interrupted):
        mlx_probe.analyze(model, out=tmp_path / "out", progress=StopAfter(5))
    with monkeypatch.context() as off:
        off.setenv(native.VARIABLE, "0")
        with pytest.raises(ProbeError, match=r"other compiled kernels .*now none"):
            mlx_probe.analyze(model, out=tmp_path / "out")
    assert mlx_probe.analyze(model, out=tmp_path / "out").meta["resumed_rows"] >= 5


@pytest.mark.parametrize("config", [AnalyzeConfig(rank_tol=1e-5), AnalyzeConfig(metrics="basic")])
def test_another_configuration_does_not_resume(model, tmp_path, config):
    with pytest.raises(Interrupted):
        mlx_probe.analyze(model, out=tmp_path / "out", progress=StopAfter(5))
    with pytest.raises(ProbeError, match="holds an unfinished run with other options"):
        mlx_probe.analyze(model, out=tmp_path / "out", config=config)
    again = mlx_probe.analyze(model, out=tmp_path / "out", config=config, overwrite=True)
    assert again.meta["resumed_rows"] == 0
    assert not list((tmp_path / "out").glob("*.jsonl"))


def test_no_resume_starts_over(model, tmp_path):
    with pytest.raises(Interrupted):
        mlx_probe.analyze(model, out=tmp_path / "out", progress=StopAfter(5))
    assert mlx_probe.analyze(model, out=tmp_path / "out", resume=False).meta["resumed_rows"] == 0


@pytest.mark.usefixtures("one_by_one")
def test_disk_full_keeps_finished_rows(model, tmp_path):
    config = AnalyzeConfig(workers=1)
    with disk_full_after(4), pytest.raises(ProbeError, match="finished rows are safe"):
        mlx_probe.analyze(model, out=tmp_path / "out", config=config)
    result = mlx_probe.analyze(model, out=tmp_path / "out", config=config)
    assert result.meta["resumed_rows"] == 4
    assert result.passed


def test_the_spot_check_finds_wrong_numbers(model, tmp_path):
    out = tmp_path / "out"
    mlx_probe.analyze(model, out=out)
    # Other bytes under the same header: same names, shapes and sizes.
    write_safetensors(model / "model.safetensors", weights(np.random.default_rng(99)))
    failed = [check for check in validate_run(out) if not check.passed]
    assert failed
    assert all(check.name.startswith("spot check") for check in failed)

"""What a run writes, against numpy on what the files hold."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from matrices import decoded
from models import Watcher, write_shards
from tinymodel import comparable

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.validate import validate_run
from mlx_probe.compute import native
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.core.errors import ResultError
from mlx_probe.core.records import METRIC_LEVELS
from mlx_probe.core.version import __version__
from mlx_probe.metrics import METRICS, metrics_of_level
from mlx_probe.runs.table import WRITERS

NUMPY = AnalyzeConfig(backend="numpy")
# Of a run with the full metrics in every format.
TABLES = {
    "spectra.parquet",
    *(f"{table}.{name}" for table in ("params", "heads", "experts") for name in WRITERS),
}


def rows_of(arrays):
    """Name, expert and float64 elements of every row that a run should have, in order."""
    for name, (words, dtype) in arrays.items():
        values = decoded(words, dtype)
        if values.ndim == 3 and "experts" in name:
            yield from ((name, expert, part) for expert, part in enumerate(values))
        else:
            yield name, None, values


@pytest.fixture(scope="module", params=BACKENDS)
def frame(request, tiny, tmp_path_factory):
    config = AnalyzeConfig(backend=request.param, device="cpu")
    return mlx_probe.analyze(tiny, out=tmp_path_factory.mktemp("out"), config=config).load()


def test_rows_are_the_tensors_in_file_order(frame, arrays):
    experts = [None if pd.isna(e) else e for e in frame.expert_index]
    assert list(zip(frame.param_name, experts, strict=True)) == [
        (name, expert) for name, expert, _ in rows_of(arrays)
    ]


def test_roles_follow_from_the_names(frame):
    def layer(name):
        return int(name.split(".")[2]) if ".layers." in name else None

    layers = [None if pd.isna(index) else index for index in frame.layer_index]
    assert layers == [layer(name) for name in frame.param_name]
    places = frame.drop_duplicates("param_name").set_index("param_name")
    places = places[["block_type", "component"]].apply(tuple, axis=1)
    assert places["model.embed_tokens.weight"] == ("embedding", "embedding")
    assert places["model.layers.0.self_attn.q_proj.weight"] == ("q_proj", "attention")
    assert places["model.layers.0.mlp.gate_proj.weight"] == ("gate_proj", "mlp")
    assert places["model.layers.0.mlp.experts.down_proj"] == ("down_proj", "moe")
    assert places["model.norm.weight"] == ("norm", "norm")
    assert places["lm_head.weight"] == ("output", "output")


def test_numbers_are_those_of_numpy(frame, arrays):
    for (_, row), (_, _, x) in zip(frame.iterrows(), rows_of(arrays), strict=True):
        assert row["shape"] == x.shape
        assert row.numel == x.size
        x = x[np.isfinite(x)] if row.status == "nonfinite" else x
        if row.status in ("empty", "scalar"):
            assert row[[m.name for m in METRICS if m.is_in("standard")]].isna().all()
            continue
        scale = np.abs(x).max()
        for name, value in {
            "mean": x.mean(),
            "var": x.var(),
            "std": x.std(),
            "min": x.min(),
            "max": x.max(),
            "rms": math.sqrt(np.square(x).mean()),
            "sparsity": np.mean(np.abs(x) <= 1e-8),
            "q50": np.median(x),
        }.items():
            # A median of an even number may be either of the two in the middle.
            room = 0.2 * scale if name == "q50" else 1e-7 * scale
            assert row[name] == pytest.approx(value, rel=1e-6, abs=room), (row.param_name, name)


def test_spectra_are_those_of_lapack(frame, arrays):
    with_rank = 0
    for (_, row), (_, _, x) in zip(frame.iterrows(), rows_of(arrays), strict=True):
        if pd.isna(row["rank"]):
            continue
        with_rank += 1
        sigma = np.linalg.svd(x.reshape(len(x), -1), compute_uv=False)
        top = sigma[0]
        assert row["rank"] == np.count_nonzero(sigma > 1e-6 * top)
        assert row.spectral_norm == pytest.approx(top, rel=1e-6)
        assert row.nuclear_norm == pytest.approx(sigma.sum(), rel=1e-6)
        assert row.frobenius_norm == pytest.approx(np.sqrt(np.square(sigma).sum()), rel=1e-6)
        assert abs(row.sigma_min - sigma[-1]) <= (row.spectrum_error + 1e-12) * top
    assert with_rank == 10


def test_every_status_has_its_reason(frame):
    unusual = frame[frame.status != "ok"].set_index("param_name")
    assert unusual.status_reason.to_dict() == {
        "model.layers.11.mlp.up_proj.weight": "1 NaN and 1 Inf in 64 elements",
        "empty": "the tensor has no elements",
        "scalar": "the tensor is 0-D: one number has no distribution",
    }
    assert frame[frame.status == "ok"].status_reason.isna().all()


def test_types_are_the_schema_s(whole):
    frame = whole.load()
    types = {
        "string": "string",
        "int64": "Int64",
        "float64": "float64",
        "bool": "boolean",
        "timestamp": "datetime64[us, UTC]",
        "list<int64>": "object",
        "list<string>": "object",
    }
    columns = table_columns([metric.column for metric in METRICS])
    assert {c.name: types[c.type] for c in columns} == frame.dtypes.astype(str).to_dict()
    assert list(frame.columns) == [column.name for column in columns]
    assert all(type(shape) is tuple for shape in frame["shape"])


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_says_the_same(whole, name):
    table = mlx_probe.load_run(whole.folder / f"params.{name}")
    pd.testing.assert_frame_equal(table, whole.load())


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_shards_are_one_model(whole, arrays, tmp_path, shards):
    folder = write_shards(tmp_path / "tiny", arrays, shards)
    config = AnalyzeConfig(backend="numpy", metrics="full")
    result = mlx_probe.analyze(folder, out=tmp_path / "out", config=config)
    assert result.passed, result.failures
    assert len(result.meta["model"]["weights"]) == shards
    ours, theirs = (comparable(f).drop(columns="model_path") for f in (result.load(), whole.load()))
    pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.parametrize("level", METRIC_LEVELS)
def test_a_level_fills_its_columns_with_the_same_numbers(tiny, whole, tmp_path, level):
    config = AnalyzeConfig(backend="numpy", metrics=level)
    frame = mlx_probe.analyze(tiny, out=tmp_path, config=config).load()
    mine = {metric.name for metric in metrics_of_level(level)}
    assert mine == set(frame.columns) & {metric.name for metric in METRICS}
    expected = comparable(whole.load())[[*comparable(frame)]]
    if level == "basic":
        # Ranks are counted there, without a spectrum.
        how = ["spectrum_method", "spectrum_error"]
        assert set(frame["spectrum_method"].dropna()) >= {"cholesky_f64", "zero_matrix"}
        frame, expected = frame.drop(columns=how), expected.drop(columns=how)
    pd.testing.assert_frame_equal(comparable(frame), expected)


@pytest.mark.parametrize(
    "change",
    [{"workers": 1}, {"workers": 2}, {"workers": 5, "memory_limit": 2**33}],
    ids=str,
)
def test_rows_depend_on_nothing_of_the_machine(tiny, whole, tmp_path, change):
    config = AnalyzeConfig(backend="numpy", metrics="full", **change)
    frame = mlx_probe.analyze(tiny, out=tmp_path, config=config).load()
    pd.testing.assert_frame_equal(comparable(frame), comparable(whole.load()))


def test_globs_leave_rows_out_and_change_no_other(tiny, whole, tmp_path):
    globs = {"include": ("*.layers.*",), "exclude": ("*.mlp.*", "*norm*")}
    config = AnalyzeConfig(backend="numpy", metrics="full", **globs)
    result = mlx_probe.analyze(tiny, out=tmp_path, config=config)
    expected = whole.load()
    expected = expected[expected.param_name.str.contains(r"\.layers\.11\.[sc]|q_proj")]
    pd.testing.assert_frame_equal(
        comparable(result.load()), comparable(expected).reset_index(drop=True)
    )
    assert result.passed
    assert all(check.passed for check in validate_run(result.folder))


def test_metadata_has_every_item(whole, tiny, arrays):
    meta = json.loads(whole.meta_path.read_text("utf-8"))
    assert meta == json.loads(json.dumps(whole.meta))  # JSON has no tuples
    assert meta["model"] == {
        "id": "tiny",
        "revision": "local",
        "path": str(tiny),
        "weights": [str(tiny / "model.safetensors")],
        "index": None,
        "config": str(tiny / "config.json"),
        "framework": "safetensors",
        "architecture": {"model_type": "llama"},
        "adapter": None,
    }
    assert meta["code_version"] == __version__
    assert (meta["backend"], meta["device"]) == ("numpy", "cpu")
    settings = {**meta["configuration"]}
    assert settings.pop("workers") >= 1
    assert settings.pop("memory_limit") > meta["peak_process_memory"] / 2
    assert settings == {
        "backend": "numpy",
        "device": "auto",
        "metrics": "full",
        "spectrum": "exact",
        "include": [],
        "exclude": [],
        "sample": "",
        "rank_tol": 1e-6,
        "zero_epsilon": 1e-8,
        "seed": 0,
        "save_spectra": True,
    }
    versions = meta["environment"]
    assert versions["python"].count(".") == 2
    assert {"numpy", "pyarrow", "pandas", "mlx", "gguf"} <= set(versions["packages"])
    assert versions["kernels"].keys() == native.LIBRARIES.keys()
    assert {"used"} >= {versions["kernels"][name] for name in native.used()}
    assert meta["command"]
    stages = ("open", "measure", "validate", "write", "read_in_workers", "compute_in_workers")
    assert set(meta["seconds"]) == set(stages)
    assert all(seconds > 0 for seconds in meta["seconds"].values())
    stored = sum(words.nbytes for words, _ in arrays.values())
    assert meta["bytes"] == stored
    assert meta["bytes_read"] == stored - arrays["scalar"][0].nbytes
    assert 0 < meta["mean_gbps"] <= meta["peak_gbps"]
    assert meta["peak_process_memory"] > 2**24
    assert meta["peak_device_memory"] >= 0
    assert sum(meta["rows_by_status"].values()) == 17
    assert meta["validation"]["passed"] is True
    assert len([c for c in meta["validation"]["checks"] if "spot check" in c["name"]]) == 5
    assert set(meta["outputs"]) == TABLES
    assert len(meta["fingerprint"]) == 64


def test_a_finished_folder_holds_tables_metadata_and_log(whole):
    names = {path.name for path in whole.folder.iterdir()}
    (log,) = (name for name in names if name.startswith("analyze_"))
    assert names == {*TABLES, "monitor.parquet", "plan.json", "run_meta.json", log}


def test_the_log_names_modules_levels_and_tensors(whole, arrays):
    (path,) = whole.folder.glob("analyze_*.log")
    lines = path.read_text("utf-8").splitlines()
    assert all(line.split(" ")[2:4] == ["INFO", "mlx_probe.runs.job:"] for line in lines)
    for name in arrays:
        assert any(f" {name}: " in line or f" {name}[0]: " in line for line in lines)
    assert any("1 NaN and 1 Inf" in line for line in lines)
    assert any("spot check of" in line for line in lines)


def test_progress_hears_of_every_row_once(tiny, arrays, tmp_path):
    watcher = Watcher()
    mlx_probe.analyze(tiny, out=tmp_path, config=NUMPY, progress=watcher)
    expected = {(name, expert) for name, expert, _ in rows_of(arrays)}
    assert set(watcher.started) == set(watcher.finished) == expected
    assert len(watcher.started) == len(watcher.finished) == 17
    assert watcher.resumed == ()


def test_a_run_replaces_the_one_before_only_if_the_user_says_so(tiny, tmp_path):
    mlx_probe.analyze(tiny, out=tmp_path, formats=["parquet"], config=NUMPY)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    config = AnalyzeConfig(backend="numpy", metrics="basic", include=("*q_proj*",))
    with pytest.raises(ResultError, match="holds a finished run with other options") as refusal:
        mlx_probe.analyze(tiny, out=tmp_path, config=config)
    assert "metrics: standard, now basic; include: none, now *q_proj*" in refusal.value.fact
    assert "--overwrite" in refusal.value.remedy
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    mlx_probe.analyze(tiny, out=tmp_path, config=config, overwrite=True)
    # No table of the older run is left beside the new one.
    kept = {path.name for path in tmp_path.iterdir() if path.suffix != ".log"}
    assert kept == {"params.csv", "plan.json", "run_meta.json", "monitor.parquet"}
    assert len(mlx_probe.load_run(tmp_path)) == 1
    assert list(mlx_probe.load_run(tmp_path).attrs["meta"]["outputs"]) == ["params.csv"]

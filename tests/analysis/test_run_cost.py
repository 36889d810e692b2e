"""What run_meta.json tells of the cost of a run."""

import json

import numpy as np
import pytest

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.stages import STAGES
from mlx_probe.compute import calibration
from mlx_probe.compute.calibration import load_calibration


def test_every_stage_is_accounted_for(whole):
    stages, seconds = whole.meta["stages"], whole.meta["seconds"]
    assert (
        set(stages)
        == {"read", "moments", "gram", "solve", "metrics", "check", "sides"}
        <= set(STAGES)
    )
    assert stages["read"]["bytes"] == whole.meta["bytes_read"]
    assert stages["read"]["seconds"] == pytest.approx(seconds["read_in_workers"])
    frame = whole.load()
    matrices = frame[(frame.status == "ok") & frame["rank"].notna()]
    short = np.minimum(matrices.rows, matrices.cols)
    # Not exact: what turned out not to be finite had a Gram matrix too.
    spoilt = 64 * 9
    assert stages["gram"]["flops"] == (matrices.numel * (short + 1)).sum() + spoilt
    assert sum(stage["seconds"] for stage in stages.values()) <= (
        whole.meta["configuration"]["workers"] * seconds["measure"]
    )


def test_shares_are_of_this_machine(whole):
    meta = json.loads(whole.meta_path.read_text("utf-8"))
    copy, product = (meta["calibration"][name] for name in ("copy_bandwidth", "product_rate"))
    read, gram = meta["stages"]["read"], meta["stages"]["gram"]
    assert read["share_of_copy"] == pytest.approx(read["bytes"] / read["seconds"] / copy)
    assert gram["share_of_product"] == pytest.approx(gram["flops"] / gram["seconds"] / product)
    assert gram["gflops"] * 1e9 == pytest.approx(gram["flops"] / gram["seconds"])
    assert meta["calibration"]["machine"]["numpy"] == np.__version__
    limit = meta["limit"]
    assert limit["name"]
    assert 0 < limit["share"] <= 1


def test_a_cache_that_cannot_be_written_costs_no_run(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(calibration, "_known", {})
    config = AnalyzeConfig(backend="numpy")
    meta = mlx_probe.analyze(tiny, out=tmp_path / "out", config=config).meta
    assert meta["calibration"] == load_calibration().describe()
    assert meta["calibration"]["copy_bandwidth"] > 0

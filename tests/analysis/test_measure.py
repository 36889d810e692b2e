"""Measuring: lanes, batches that fail, what is asked for ahead, and what each stage is told."""

import itertools
import threading
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.measure import Measurer
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.stream import analyze_rows
from mlx_probe.checkpoint.mapping import MappedRange
from mlx_probe.checkpoint.weight import Weight
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.spectrum import GRAM_METHODS
from mlx_probe.core.errors import PackingError
from mlx_probe.runs.monitor import UsageMeter

COUNT = 12


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        f"layers.{i}.q_proj.weight": rng.standard_normal((40 + i, 30)).astype(np.float32)
        for i in range(COUNT)
    }
    return write_safetensors(tmp_path / "model.safetensors", arrays)


@pytest.fixture
def checkpoint(path):
    with mlx_probe.open_checkpoint(path) as checkpoint:
        yield checkpoint


def rows_of(plan, on_start=lambda weight: None):
    with UsageMeter(STAGES, plan.backend.device_memory) as meter:
        return list(chain(*analyze_rows(plan, {}, meter, on_start))), meter.usage()


class Counted:
    """How many threads are inside at once."""

    def __init__(self):
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def __enter__(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *exception):
        with self.lock:
            self.now -= 1


@pytest.mark.parametrize("lanes", [1, 2])
def test_elements_go_through_the_lanes_and_solvers_beside_them(checkpoint, monkeypatch, lanes):
    plan = make_plan(checkpoint, AnalyzeConfig(backend="numpy", workers=4))
    monkeypatch.setattr(NumpyBackend, "lanes", lanes)
    streaming, solving = Counted(), threading.Barrier(4)
    original = Measurer._stream, Measurer._exact

    def stream(self, *arguments):
        with streaming:
            return original[0](self, *arguments)

    def exact(self, *arguments):
        # All four workers are here at once: none of them holds a lane.
        solving.wait(30)
        return original[1](self, *arguments)

    monkeypatch.setattr(Measurer, "_stream", stream)
    monkeypatch.setattr(Measurer, "_exact", exact)
    rows, _ = rows_of(plan)
    assert len(rows) == COUNT
    assert streaming.most <= lanes


def test_the_next_weights_are_asked_for_ahead(checkpoint, monkeypatch):
    plan = make_plan(checkpoint, AnalyzeConfig(backend="numpy", workers=1))
    heard = []
    monkeypatch.setattr(Weight, "prefetch", lambda weight: heard.append(("next", weight.name)))
    rows_of(plan, lambda weight: heard.append(("now", weight.name)))
    started = [name for what, name in heard if what == "now"]
    for first, second in itertools.pairwise(started):
        assert heard.index(("next", second)) < heard.index(("now", first))


def test_prefetching_covers_the_bytes_and_forgives_a_missing_file(path, checkpoint, monkeypatch):
    asked = []
    monkeypatch.setattr(MappedRange, "will_need", lambda mapped: asked.append(mapped.data.size))
    weights = checkpoint.weights()
    for weight in weights:
        weight.prefetch()
    assert asked == [weight.nbytes for weight in weights]
    path.unlink()
    weights[0].prefetch()
    assert len(asked) == len(weights)


def test_bytes_and_flops_of_the_stages(checkpoint):
    plan = make_plan(checkpoint, AnalyzeConfig(backend="numpy", workers=2))
    _, usage = rows_of(plan)
    stages, nbytes = usage.stages, sum(weight.nbytes for weight in plan.weights)
    assert set(stages) == {"read", "moments", "gram", "solve", "metrics"}
    assert stages["read"].bytes == stages["moments"].bytes == stages["gram"].bytes == nbytes
    elements = sum(weight.numel for weight in plan.weights)
    assert stages["gram"].flops == elements * 31
    assert stages["solve"].flops == pytest.approx(COUNT * 4 / 3 * 30**3)
    assert all(work.seconds > 0 for work in stages.values())


def test_one_bad_member_does_not_spoil_a_batch(checkpoint, monkeypatch):
    weights = [w for w in checkpoint.weights() if w.rows == 40] * 3
    plan = make_plan(checkpoint, AnalyzeConfig(backend="numpy", workers=1))
    original, seen = Weight.chunks, []

    def chunks(self):
        seen.append(self)
        if len(seen) in (2, 4):
            raise PackingError("scales of 3 rows")
        return original(self)

    monkeypatch.setattr(Weight, "chunks", chunks)
    with UsageMeter(STAGES, plan.backend.device_memory) as meter:
        outcomes = Measurer(plan, meter).measure(weights)
    assert [outcome.status for outcome in outcomes] == ["ok", "skipped", "ok"]
    assert outcomes[1].reason == "scales of 3 rows"


def test_large_matrices_are_sketched_on_request_and_small_ones_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr("mlx_probe.analysis.working_set.SKETCHED_FROM", 1024)
    rng = np.random.default_rng(0)
    arrays = {
        "layers.0.up_proj.weight": rng.standard_normal((1200, 1024)).astype(np.float32),
        "layers.0.k_proj.weight": rng.standard_normal((64, 1024)).astype(np.float32),
        "layers.0.zero.weight": np.zeros((1024, 1024), np.float32),
    }
    path = write_safetensors(tmp_path / "model.safetensors", arrays)

    def table(spectrum):
        config = AnalyzeConfig(backend="numpy", spectrum=spectrum)
        run = mlx_probe.analyze(path, out=tmp_path / spectrum, config=config)
        assert run.passed, run.failures
        return run.load().set_index("param_name")

    exact, approximate = table("exact"), table("approx")
    small, zero = approximate.loc["layers.0.k_proj.weight"], approximate.loc["layers.0.zero.weight"]
    assert small["spectrum_method"] in GRAM_METHODS.values()
    assert zero["spectrum_method"] == "zero_matrix"
    large, reference = (frame.loc["layers.0.up_proj.weight"] for frame in (approximate, exact))
    assert large["spectrum_method"] == "block_lanczos"
    for name in ("rank", "rank_numpy", "noise_rank", "sigma_min", "nuclear_norm"):
        assert pd.isna(large[name]), name
    off = abs(large["effective_rank"] - reference["effective_rank"])
    assert off <= 3 * large["effective_rank_error"] < 0.1 * reference["effective_rank"]
    assert large["frobenius_norm"] == pytest.approx(reference["frobenius_norm"], rel=1e-12)
    assert large["spectral_norm"] == pytest.approx(
        reference["spectral_norm"], rel=2 * large["spectrum_error"]
    )

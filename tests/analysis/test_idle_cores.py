"""Cores that fall idle are lent to the weights that are left; no bit of a result depends on it."""

import threading
import time
from itertools import chain, cycle

import numpy as np
import pytest
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.stream import analyze_rows
from mlx_probe.compute import lapack, schedule
from mlx_probe.compute.cores import CoreShare
from mlx_probe.runs.monitor import UsageMeter

# Sides of matrices: several chunks, one large among small ones, wide and tall.
SHAPES = [(2300, 260), (260, 1100), (150, 150), (90, 200)]
# What changes from run to run.
TIMES = ("created_at", "read_seconds", "compute_seconds", "read_gbps")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    rng = np.random.default_rng(0)
    arrays = {
        f"layers.{i}.q_proj.weight": rng.standard_normal(shape).astype(np.float32)
        for i, shape in enumerate(SHAPES)
    }
    return write_safetensors(tmp_path_factory.mktemp("model") / "model.safetensors", arrays)


@pytest.fixture
def tiled(monkeypatch):
    """Small matrices are multiplied in tiles, as large ones are; the numbers of cores seen."""
    monkeypatch.setattr(lapack, "TILED", 64)
    seen, width = set(), lapack.width

    def noted():
        cores = width()
        seen.add(cores)
        return cores

    monkeypatch.setattr(lapack, "width", noted)
    return seen


def rows_of(path, workers):
    """Values and singular values of each weight, by its index."""
    config = AnalyzeConfig(backend="numpy", metrics="full", workers=workers)
    with mlx_probe.open_checkpoint(path) as checkpoint:
        plan = make_plan(checkpoint, config)
        with UsageMeter(STAGES) as meter:
            rows = list(chain(*analyze_rows(plan, {}, meter, lambda weight: None)))
    values = {row.index: {k: v for k, v in row.values.items() if k not in TIMES} for row in rows}
    return values, {row.index: row.sigma.tobytes() for row in rows}


@pytest.mark.usefixtures("small_chunks")
def test_rows_are_the_same_bits_for_any_number_of_workers_and_cores(path, tiled, monkeypatch):
    alone = rows_of(path, 1)
    assert tiled == {1}
    for workers in (2, 3):
        assert rows_of(path, workers) == alone
    # Another number each time that the work is divided.
    numbers = cycle([1, 3, 2, 5])

    def changing(share):
        share._value.value = next(numbers)
        return share._value.value

    monkeypatch.setattr(CoreShare, "cores", property(changing, lambda share, cores: None))
    assert rows_of(path, 2) == alone
    assert tiled >= {1, 2, 3, 5}


@pytest.mark.usefixtures("small_chunks")
def test_the_last_weight_takes_over_in_the_middle(tmp_path, monkeypatch):
    arrays = {
        f"layers.{i}.q_proj.weight": np.random.default_rng(i).standard_normal(shape, np.float32)
        for i, shape in enumerate([(2300, 260), (90, 200)])
    }
    path = write_safetensors(tmp_path / "model.safetensors", arrays)
    monkeypatch.setattr(schedule, "usable_cores", lambda: 2)
    chunks, width = {}, lapack.width

    def noted():
        thread = threading.get_ident()
        seen = chunks.setdefault(thread, [])
        until = time.monotonic() + 30
        # Each chunk asks twice: to divide the work, and to count it. The second chunk of the large
        # matrix waits for the end of the other weight.
        while len(seen) == 2 and width() == 1 and time.monotonic() < until:
            time.sleep(0.001)
        seen.append(width())
        return seen[-1]

    monkeypatch.setattr(lapack, "TILED", 64)
    with monkeypatch.context() as patch:
        patch.setattr(lapack, "width", noted)
        taken_over = rows_of(path, 2)
    (large,) = (seen for seen in chunks.values() if len(seen) > 2)
    assert large[-1] == 2
    assert taken_over == rows_of(path, 1)

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.forecast.duration import duration_of, flops_by_stage, wall_time
from mlx_probe.analysis.forecast.rates import Rates, curve_at
from mlx_probe.analysis.plan import make_plan

NUMPY = AnalyzeConfig(backend="numpy", workers=2)

# Every step of an element or a flop takes a second, or nothing.
ONE = Rates(
    machine={},
    opening=1.0,
    copy=0.0,
    moments={"F32": (0.0, 1.0), "BF16": (0.0, 2.0)},
    gram=((64.0, 64.0),),
    solve=((1.0, 1.0), (10.0, 1000.0)),
    metrics={"standard": ((1.0, 0.0),), "basic": ((1.0, 0.0),)},
    svd=0.0,
)
CURVES = st.lists(
    st.tuples(st.floats(1, 1e4), st.floats(1e-6, 1e3)),
    min_size=1,
    max_size=5,
    unique_by=lambda p: p[0],
).map(lambda points: tuple(sorted(points)))
TASKS = st.lists(
    st.tuples(st.floats(0, 10), st.floats(0, 10), st.integers(1, 100)), min_size=1, max_size=12
)


@given(CURVES)
def test_a_curve_goes_through_its_points(curve):
    for size, seconds in curve:
        assert curve_at(curve, size, (1.0, 3.0)) == pytest.approx(seconds)


@given(CURVES, st.floats(1.1, 10))
def test_beyond_its_points_a_curve_grows_as_it_may(curve, factor):
    last, seconds = curve[-1]
    result = curve_at(curve, factor * last, (1.0, 3.0))
    assert seconds * factor * 0.999 <= result <= seconds * factor**3 * 1.001
    assert curve_at(curve, curve[0][0] / factor, (1.0, 3.0)) == curve[0][1]


@given(TASKS, st.integers(1, 4), st.integers(1, 4), st.integers(100, 300))
def test_wall_time_is_between_the_longest_and_the_sum(tasks, workers, lanes, budget):
    lanes = min(lanes, workers)
    seconds = wall_time(tasks, workers, lanes, budget)
    streamed = [a for a, _, _ in tasks]
    both = [a + b for a, b, _ in tasks]
    # The last one, when it is alone, has all lanes.
    assert seconds >= (sum(streamed) - max(streamed)) / lanes - 1e-9
    assert seconds >= (sum(both) - max(both)) / workers - 1e-9
    assert seconds <= sum(both) + 1e-9


@given(TASKS)
def test_one_worker_takes_them_one_by_one(tasks):
    assert wall_time(tasks, 1, 1, 1000) == pytest.approx(sum(a + b for a, b, _ in tasks))


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "layers.0.q_proj.weight": rng.standard_normal((60, 40)).astype(np.float32),
        "layers.0.k_proj.weight": rng.standard_normal((20, 90)).astype(np.float32),
        "layers.0.norm.weight": rng.standard_normal(40).astype(np.float32),
        "tied.weight": np.ones((3, 3), np.float32),
    }
    arrays["again.weight"] = arrays["tied.weight"]
    return write_safetensors(tmp_path / "model.safetensors", arrays)


@pytest.mark.parametrize("metrics", ["basic", "standard"])
def test_flops_are_those_that_a_run_counts(path, tmp_path, metrics):
    config = replace(NUMPY, metrics=metrics, exclude=("tied*", "again*"))
    with mlx_probe.open_checkpoint(path) as checkpoint:
        expected = flops_by_stage(make_plan(checkpoint, config))
    run = mlx_probe.analyze(path, out=tmp_path / "out", config=config)
    counted = {stage: cost["flops"] for stage, cost in run.meta["stages"].items() if cost["flops"]}
    assert counted == pytest.approx(expected)


def test_stages_add_up_what_every_weight_takes(path):
    with mlx_probe.open_checkpoint(path) as checkpoint:
        duration = duration_of(make_plan(checkpoint, NUMPY), ONE)
    # Without the copy of another.
    elements = 60 * 40 + 20 * 90 + 40 + 9
    assert duration.stages["moments"] == elements
    assert duration.stages["read"] == 4
    assert duration.stages["gram"] == 64 * (60 * 40 + 20 * 90 + 9)
    assert duration.stages["solve"] == pytest.approx(40**3 + 20**3 + 3**3, rel=0.2)


def test_half_the_workers_take_longer(path):
    with mlx_probe.open_checkpoint(path) as checkpoint:
        two, one = (
            duration_of(make_plan(checkpoint, replace(NUMPY, workers=n)), ONE).measure
            for n in (2, 1)
        )
    assert two < one <= 2 * two

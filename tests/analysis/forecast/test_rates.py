import json
from dataclasses import replace

import pytest

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.forecast import timing
from mlx_probe.analysis.forecast.rates import known_rates, rates_for, unpacking_of
from mlx_probe.analysis.plan import make_plan
from mlx_probe.checkpoint import blank_weight
from mlx_probe.compute import native
from mlx_probe.compute.backends import BACKENDS

CONFIG = AnalyzeConfig(backend="numpy", device="cpu")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of its own, and a calibration that takes no time."""
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(timing, "ROUNDS", 1)
    monkeypatch.setattr(timing, "ELEMENTS", 1 << 16)
    monkeypatch.setattr(timing, "GRAM_SIDES", (16, 64))
    monkeypatch.setattr(timing, "SOLVE_SIDES", (16, 32))
    monkeypatch.setattr(timing, "METRIC_SIDES", (16, 32))
    return tmp_path / "cache" / "calibration"


@pytest.fixture
def plan(model):
    with mlx_probe.open_checkpoint(model) as checkpoint:
        yield make_plan(checkpoint, CONFIG)


def kept(folder):
    (path,) = folder.glob("rates-*.json")
    return path


def figures(rates):
    curves = (rates.gram, rates.solve, *rates.metrics.values())
    pairs = [x for pair in rates.moments.values() for x in pair]
    return [rates.opening, rates.svd, *rates.unpack.values(), *pairs] + [
        x for curve in curves for point in curve for x in point
    ]


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_is_timed(folder, model, name):
    with mlx_probe.open_checkpoint(model) as checkpoint:
        plan = make_plan(checkpoint, replace(CONFIG, backend=name, metrics="full"))
        rates = rates_for(plan)
    dtypes = {weight.chunk_dtype for weight in plan.weights if weight.shape and weight.numel}
    assert rates.moments.keys() == dtypes
    assert rates.machine["backend"] == name
    assert all(x > 0 for x in (*figures(rates), rates.rounding, rates.copy))


def test_what_was_timed_is_kept(folder, plan, monkeypatch):
    assert known_rates(plan) is None
    first = rates_for(plan)
    monkeypatch.setattr(timing, "_seconds", None)
    assert rates_for(plan) == known_rates(plan) == first


def test_times_of_mlx_are_those_of_the_blas_that_it_calls(folder, model, monkeypatch):
    with mlx_probe.open_checkpoint(model) as checkpoint:
        plan = make_plan(checkpoint, replace(CONFIG, backend="mlx"))
        rates_for(plan)
        assert known_rates(plan)
        monkeypatch.setattr("mlx_probe.analysis.forecast.rates.mlx_blas", lambda: "/lib/other.so")
        assert known_rates(plan) is None


def test_times_with_compiled_kernels_are_not_those_without(folder, plan, monkeypatch):
    monkeypatch.setattr(native, "used", lambda: {"elements": 1})
    rates_for(plan)
    assert known_rates(plan)
    monkeypatch.setattr(native, "used", dict)
    assert known_rates(plan) is None


def test_only_what_is_unknown_is_timed(folder, plan, monkeypatch):
    first = rates_for(plan)
    full = replace(plan, config=replace(plan.config, metrics="full"))
    assert known_rates(full) is None
    second = rates_for(full)
    assert second.metrics.keys() == {"standard", "full"}
    assert second.gram == first.gram
    assert rates_for(plan, anew=True).metrics.keys() == {"standard"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry.pop("gram"),
        lambda entry: entry.update(svd=-1.0),
        lambda entry: entry.update(unpack={"x": "fast"}),
        lambda entry: entry.update(solve=[[1, 2, 3]]),
        lambda entry: entry["machine"].update(cores=999),
        lambda entry: entry.update(moments=[]),
    ],
)
def test_a_damaged_file_is_timed_again(folder, plan, damage):
    rates_for(plan)
    path = kept(folder)
    entry = json.loads(path.read_text())
    damage(entry)
    path.write_text(json.dumps(entry))
    assert known_rates(plan) is None
    assert all(x > 0 for x in figures(rates_for(plan)))
    assert known_rates(plan) is not None


def test_a_blank_weight_reads_as_zeros_of_its_shape(plan, tmp_path):
    for weight in plan.weights:
        if weight.problem or not weight.shape or not weight.numel:
            continue
        sizes = [chunk.size for chunk in weight.chunks()]
        blank = [chunk.copy() for chunk in blank_weight(weight, tmp_path).chunks()]
        assert [chunk.size for chunk in blank] == sizes
        assert not any(chunk.any() for chunk in blank)


def test_weights_that_unpack_alike_have_one_rate(plan):
    plain = {unpacking_of(weight) for weight in plan.weights if weight.dtype == "F32"}
    assert len(plain) == 1

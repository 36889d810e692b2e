"""What decides a plan; selection and limits are in test_plan."""

import os
from dataclasses import fields, replace

import numpy as np
import pytest
from models import write_shards
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis import plan
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.plan import make_plan as make_compare_plan
from mlx_probe.analysis.plan import make_plan
from mlx_probe.compute import calibration, native
from mlx_probe.compute.native import eigen
from mlx_probe.compute.solver_crossover import EigenSolvers
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import METRIC_LEVELS
from mlx_probe.metrics import metrics_of_level

NUMPY = AnalyzeConfig(backend="numpy")

# A value unlike the default for every setting: a new setting has to be thought about here.
OTHER = {
    "backend": "mlx",
    "device": "cpu",
    "metrics": "full",
    "spectrum": "approx",
    "include": ("*",),
    "exclude": ("mask",),
    "sample": "experts=2",
    "rank_tol": 1e-5,
    "zero_epsilon": 1e-7,
    "workers": 7,
    "memory_limit": 2**33,
    "seed": 1,
    # Decides what of a row is kept.
    "save_spectra": False,
}
# "device": asked for or chosen, the CPU computes the same.
DECIDE_NO_VALUE = {"device", "workers", "memory_limit"}


def plan_of(path, config=NUMPY):
    with mlx_probe.open_checkpoint(path) as checkpoint:
        return make_plan(checkpoint, config)


@pytest.mark.parametrize("name", [field.name for field in fields(AnalyzeConfig)])
def test_fingerprint_has_what_decides_values_and_nothing_else(tiny, name):
    changes = {name: OTHER[name], **({"device": "cpu"} if name == "backend" else {})}
    same = plan_of(tiny, replace(NUMPY, **changes)).fingerprint == plan_of(tiny).fingerprint
    assert same == (name in DECIDE_NO_VALUE)


def test_fingerprint_knows_which_way_the_backend_was_chosen_from_only_by_the_choice(tiny):
    chosen = plan_of(tiny, AnalyzeConfig(device="cpu"))
    assert chosen.backend.name == "numpy"
    assert chosen.fingerprint == plan_of(tiny).fingerprint


def test_fingerprint_knows_the_seed_where_values_come_from_it(tiny):
    # The basic set resamples nothing; the others judge alpha by resamples.
    for change, different in (
        ({"spectrum": "approx"}, 2),
        ({"metrics": "full"}, 2),
        ({"metrics": "standard"}, 2),
        ({"metrics": "basic"}, 1),
        ({"metrics": "basic", "spectrum": "approx"}, 2),
        ({"metrics": "basic", "sample": "experts=2"}, 2),
    ):
        configs = [replace(NUMPY, seed=seed, **change) for seed in (0, 1)]
        assert len({plan_of(tiny, config).fingerprint for config in configs}) == different


def test_the_calibration_is_asked_for_large_matrices_only_and_decides_values(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "eigen_solvers", lambda: EigenSolvers(1500))
    small = write_safetensors(tmp_path / "a.safetensors", {"w": np.zeros((3000, 64), "f4")})
    large = write_safetensors(tmp_path / "b.safetensors", {"w": np.zeros((1024, 1024), "f4")})
    assert plan_of(small).solvers == EigenSolvers()
    before = plan_of(large)
    assert before.solvers == EigenSolvers(1500)
    monkeypatch.setattr(calibration, "eigen_solvers", EigenSolvers)
    assert plan_of(large).fingerprint != before.fingerprint


@pytest.mark.skipif(not eigen.is_available(), reason="no compiled solver")
def test_fingerprint_knows_whether_the_compiled_solver_ran(tiny):
    before = plan_of(tiny).fingerprint
    with native.without():
        assert plan_of(tiny).fingerprint != before


def test_fingerprint_knows_the_kernels(tiny, monkeypatch):
    with mlx_probe.open_checkpoint(tiny) as a:
        plans = make_plan(a, NUMPY), make_compare_plan(a, a, CompareConfig())
        seen = set()
        for used in ({}, {"eigen": 1}, {"eigen": 2}):
            monkeypatch.setattr(native, "used", lambda used=used: used)
            seen |= {plan.fingerprint for plan in plans}
    assert len(seen) == 6


def test_fingerprint_knows_the_code(tiny, monkeypatch):
    before = plan_of(tiny).fingerprint
    monkeypatch.setattr(plan, "__version__", "999")
    assert plan_of(tiny).fingerprint != before


@pytest.mark.parametrize("shard", [0, 1, 2])
def test_fingerprint_knows_every_shard(arrays, tmp_path, shard):
    folder = write_shards(tmp_path / "sharded", arrays, 3)
    before = plan_of(folder).fingerprint
    path = sorted(folder.glob("*.safetensors"))[shard]
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1000))
    assert plan_of(folder).fingerprint != before


def test_fingerprint_is_the_same_from_everywhere(tiny, monkeypatch):
    before = plan_of(tiny).fingerprint
    monkeypatch.chdir(tiny.parent)
    assert plan_of(tiny.name).fingerprint == before
    config = tiny / "config.json"
    os.utime(config, ns=(1, 1))  # no value comes from there
    assert plan_of(tiny).fingerprint == before


@pytest.mark.parametrize(
    "change",
    [
        {"backend": "cuda"},
        {"device": "tpu"},
        {"metrics": "most"},
        {"rank_tol": 0.0},
        {"rank_tol": 1.0},
        {"rank_tol": float("nan")},
        {"zero_epsilon": -1e-9},
        {"zero_epsilon": float("nan")},
        {"zero_epsilon": float("inf")},
        {"workers": -1},
        {"memory_limit": -1},
    ],
    ids=str,
)
def test_a_setting_that_makes_no_sense_is_refused_before_the_work(tiny, change):
    ((name, value),) = change.items()
    with pytest.raises(ConfigError, match=name) as refusal:
        plan_of(tiny, replace(NUMPY, **change))
    assert repr(value) in refusal.value.fact


@pytest.mark.parametrize("level", METRIC_LEVELS)
def test_columns_follow_the_level(tiny, level):
    names = [column.name for column in plan_of(tiny, replace(NUMPY, metrics=level)).columns]
    assert set(names) >= {metric.name for metric in metrics_of_level(level)}
    assert len(names) == len(set(names))
    others = {metric.name for metric in metrics_of_level("full")}
    assert not set(names) & (others - {metric.name for metric in metrics_of_level(level)})


def test_levels_contain_each_other():
    basic, standard, full = (
        {metric.name for metric in metrics_of_level(level)} for level in METRIC_LEVELS
    )
    assert basic < standard < full


def test_spectra_are_of_float_matrices_that_have_elements(tiny):
    with_spectrum = {w.name for w in plan_of(tiny).weights if w.has_spectrum}
    without = {w.name for w in plan_of(tiny).weights if not w.has_spectrum}
    assert without == {
        "model.layers.0.input_layernorm.weight",
        "model.norm.weight",
        "position_ids",
        "mask",
        "empty",
        "scalar",
    }
    assert not with_spectrum & without


def test_all_or_nothing_is_left(tiny):
    with pytest.raises(ConfigError, match="no tensor is selected out of 15"):
        plan_of(tiny, replace(NUMPY, exclude=("*",)))
    assert len(plan_of(tiny, replace(NUMPY, exclude=("nothing-such",))).weights) == 17

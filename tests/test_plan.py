import os
from dataclasses import replace

import numpy as np
import pytest
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.backends.numpy import NumpyBackend
from mlx_probe.cli.options import SIZE
from mlx_probe.errors import ConfigError
from mlx_probe.monitor import Monitor, process_memory
from mlx_probe.plan import estimate_seconds, make_plan

NUMPY = AnalyzeConfig(backend="numpy")


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(0)
    names = ("layers.1.q_proj.weight", "layers.11.q_proj.weight", "layers.1.mlp.up_proj.weight")
    arrays = {name: rng.standard_normal((64, 48)).astype(np.float32) for name in names}
    arrays["big.weight"] = np.zeros((3000, 2000), np.float32)
    return write_safetensors(tmp_path / "model.safetensors", arrays)


def plan_of(path, config=NUMPY):
    with mlx_probe.open_checkpoint(path) as checkpoint:
        return make_plan(checkpoint, config)


def test_globs_select_by_whole_names(path):
    def selected(**globs):
        return [weight.name for weight in plan_of(path, replace(NUMPY, **globs)).weights]

    assert selected(include=("layers.1.*",)) == [
        "layers.1.q_proj.weight",
        "layers.1.mlp.up_proj.weight",
    ]
    assert selected(include=("layers.1.*", "big*"), exclude=("*mlp*",)) == [
        "layers.1.q_proj.weight",
        "big.weight",
    ]


def test_nothing_selected_names_something_near(path):
    with pytest.raises(ConfigError, match="up_proj"):
        plan_of(path, replace(NUMPY, include=("*up_prj*",)))


def test_a_limit_that_is_too_small_is_refused_with_one_that_is_not(path):
    with pytest.raises(ConfigError, match=r"big\.weight") as refusal:
        plan_of(path, replace(NUMPY, memory_limit=process_memory() + 50_000_000))
    suggested = refusal.value.remedy.partition("at least ")[2].partition(",")[0]
    plan = plan_of(path, replace(NUMPY, memory_limit=SIZE.convert(suggested, None, None)))
    assert max(plan.sizes) <= plan.budget


def test_automatic_choices_are_recorded(path):
    config = plan_of(path, AnalyzeConfig(device="cpu")).config
    assert config.backend == "numpy"
    assert config.workers == NumpyBackend().default_workers
    assert config.memory_limit > process_memory()


@pytest.mark.parametrize(
    "change",
    [
        {"rank_tol": 1e-5},
        {"zero_epsilon": 1e-7},
        {"metrics": "full"},
        {"include": ("*",)},
        {"exclude": ("big*",)},
        {"backend": "mlx", "device": "cpu"},
    ],
    ids=str,
)
def test_fingerprint_changes_with_what_decides_values(path, change):
    assert plan_of(path, replace(NUMPY, **change)).fingerprint != plan_of(path).fingerprint


@pytest.mark.parametrize("change", [{"workers": 7}, {"memory_limit": 2**33}, {"seed": 1}], ids=str)
def test_fingerprint_ignores_what_does_not(path, change):
    assert plan_of(path, replace(NUMPY, **change)).fingerprint == plan_of(path).fingerprint


def test_fingerprint_knows_the_file(path):
    before = plan_of(path).fingerprint
    os.utime(path, ns=(1, 1))
    assert plan_of(path).fingerprint != before


def test_the_estimate_grows_with_the_work(path):
    whole = estimate_seconds(plan_of(path, replace(NUMPY, workers=1)))
    small = estimate_seconds(plan_of(path, replace(NUMPY, workers=1, exclude=("big*",))))
    assert 0 < small < whole


def test_the_monitor_counts_bytes_and_sees_memory():
    with Monitor(lambda: (3, 5)) as monitor:
        monitor.add_read(100)
        monitor.add_read(50)
        ballast = np.ones(20_000_000 // 8)
        usage = monitor.usage()
        del ballast
    assert usage.bytes_read == 150
    assert usage.mean_bandwidth > 0
    assert (usage.device_memory, usage.peak_device_memory) == (3, 5)
    assert monitor.usage().peak_memory >= usage.memory > 20_000_000

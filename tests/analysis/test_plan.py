from dataclasses import replace

import numpy as np
import pytest
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.plan import make_plan
from mlx_probe.cli.options import SIZE
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.core.errors import ConfigError
from mlx_probe.runs.monitor import process_memory

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

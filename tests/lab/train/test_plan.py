"""The plan of a training run: numbers, warnings, and the command beside the plan of a model."""

import dataclasses
import json

import mlx.core as mx
import pytest
from models import invoke
from project import ROOT

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.device import use_device
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.count import parameters, training_flops_per_token
from mlx_probe.lab.settings import read_settings
from mlx_probe.lab.train import plan as planning
from mlx_probe.lab.train import rate
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.train.plan import EFFICIENCY, plan_training
from mlx_probe.lab.train.rate import product_rate

TINY = ROOT / "configs" / "train" / "tiny.yaml"


@pytest.fixture(autouse=True)
def same_rate(monkeypatch):
    """Products of 2 GFLOP/s, whatever this machine does now."""
    use_device("cpu")
    monkeypatch.setattr(planning, "product_rate", lambda model, tokens, dtype: 2e9)


def planned(*changes, path=TINY):
    return plan_training(read_settings(Recipe, path, changes), "cpu")


def test_numbers():
    recipe = read_settings(Recipe, TINY, ["accumulation=3"])
    plan = plan_training(recipe, "cpu")
    tokens = 60 * 8 * 3 * 64
    assert plan.parameters == parameters(recipe.model)
    assert plan.tokens == tokens == plan.steps * plan.tokens_per_step
    assert plan.flops == tokens * training_flops_per_token(recipe.model)
    assert plan.least_seconds == pytest.approx(plan.flops / 2e9)
    assert plan.seconds == pytest.approx(plan.least_seconds / EFFICIENCY["cpu"][False])
    assert plan.fits
    assert plan.family == "llama"
    assert planned("qk_norm=true").family == "qwen3"


def test_a_model_that_is_too_large(monkeypatch):
    monkeypatch.setattr(planning, "available_memory", lambda gpu: 20_000_000)
    plan = planned("batch=64")
    assert not plan.fits
    assert "needs" in plan.warnings[0]
    assert "gradient_checkpointing" in plan.warnings[0]
    again = planned("batch=64", "gradient_checkpointing=true")
    assert again.memory.total < plan.memory.total
    assert "train.accumulation" in again.warnings[0]
    wide = planned("batch=1", "context=8", "dim=512", "hidden=2048")
    assert "model.dim" in wide.warnings[0]


def test_nearly_too_large_warns_and_fits(monkeypatch):
    plan = planned()
    monkeypatch.setattr(planning, "available_memory", lambda gpu: int(plan.memory.total * 1.1))
    tight = planned()
    assert tight.fits
    assert "needs" in tight.warnings[0]


def test_a_slow_blas_and_no_compiler(monkeypatch):
    monkeypatch.setattr(planning.sys, "platform", "linux")
    monkeypatch.setattr(planning, "mlx_blas", lambda: None)
    monkeypatch.setattr(planning, "compiles", lambda: (False, "no C++ compiler"))
    texts = " ".join(planned("dtype=bfloat16").warnings)
    for words in ("MLX_PROBE_MLX_BLAS", "no C++ compiler", "bfloat16"):
        assert words in texts


def test_an_unknown_vocabulary():
    with pytest.raises(ConfigError, match=r"model\.vocabulary is 0"):
        planned("vocabulary=0")


def test_the_rate_weighs_the_shapes(monkeypatch):
    config = ModelConfig(vocabulary=4096)
    monkeypatch.setattr(
        rate, "_rate_of", lambda weight, tokens, until: 1e9 if weight.shape[0] > 1024 else 4e9
    )
    head = 2 * 4096 * 128
    rest = 2 * (config.layers * (4 * 128 * 128 + 3 * 128 * 352))
    assert product_rate(config, 64) == pytest.approx((head + rest) / (head / 1e9 + rest / 4e9))


def test_the_rate_is_measured():
    assert 1e7 < product_rate(ModelConfig(), 256, mx.float32) < 1e13


def test_the_command():
    ran = invoke("plan", "train", TINY, "--set", "train.steps=100", "--device", "cpu")
    assert ran.exit_code == 0, ran.output
    for words in (
        "125,248 parameters",
        "100 steps of 512 tokens",
        f"{EFFICIENCY['cpu'][False]:.0%}",
        "at least",
    ):
        assert words in " ".join(ran.stdout.split()), words
    ran = invoke("plan", "--json", "train", TINY, "--device", "cpu")
    assert json.loads(ran.stdout)["steps"] == 60


def test_the_command_for_too_large_a_model(monkeypatch):
    monkeypatch.setattr(planning, "available_memory", lambda gpu: 1)
    ran = invoke("plan", "train", TINY, "--device", "cpu")
    assert ran.exit_code == 1
    assert "does not fit" in ran.stderr


def test_bad_settings():
    ran = invoke("plan", "train", TINY, "--set", "train.stepz=3")
    assert ran.exit_code == 2
    assert "steps" in ran.stderr
    assert invoke("plan", "train", "nothing.yaml").exit_code == 2


def test_a_model_in_a_folder_called_train(model, monkeypatch):
    model.rename(model.parent / "train")
    monkeypatch.chdir(model.parent)
    for arguments in (("train",), ("train", "--context", "64"), ("--json", "train", "--bits", "4")):
        ran = invoke("plan", *arguments)
        assert ran.exit_code == 0, ran.output
        assert "gradient" not in ran.stdout


def test_the_document_has_every_field():
    plan = planned()
    described = plan.describe()
    assert set(described) == {field.name for field in dataclasses.fields(plan)}
    assert described["memory"]["total"] == plan.memory.total
    json.dumps(described)

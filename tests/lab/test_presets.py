"""The presets are read, and the models of those in configs/train/ have the size that they name."""

import pytest
from project import ROOT

from mlx_probe.lab.model.count import parameters
from mlx_probe.lab.moe.train.config import MixtureRecipe
from mlx_probe.lab.settings import read_settings
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.tune.config import TuneRecipe

FOLDER = ROOT / "configs" / "train"
MILLIONS = {"tiny": 0.125, "shakespeare": 0.87, "small": 15, "base": 110}


def test_each_preset_has_a_size():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(MILLIONS)


@pytest.mark.parametrize("name", MILLIONS)
def test_a_preset_has_its_size(name):
    recipe = read_settings(Recipe, FOLDER / f"{name}.yaml")
    assert parameters(recipe.model) / 1e6 == pytest.approx(MILLIONS[name], rel=0.05)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "tune").glob("*.yaml")))
def test_presets_of_tuning(path):
    recipe = read_settings(TuneRecipe, path)
    assert recipe.adapter.method == "lora"
    assert recipe.train.objective == path.stem.rpartition("_")[2]


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "moe").glob("*.yaml")))
def test_presets_of_mixtures(path):
    recipe = read_settings(MixtureRecipe, path)
    assert recipe.gate.kind == path.stem.rpartition("_")[2]
    assert (recipe.gate.active > 0) == (recipe.gate.kind == "topk")

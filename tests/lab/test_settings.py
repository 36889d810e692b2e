"""Configurations of the lab: presets, changes, and what is refused."""

from dataclasses import asdict, dataclass, field

import pytest
from project import ROOT

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.settings import read_settings, settings_to_yaml
from mlx_probe.lab.train.config import Recipe, SnapshotConfig

PRESETS = sorted((ROOT / "configs" / "train").glob("*.yaml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_are_read_and_written_back(path, tmp_path):
    recipe = read_settings(Recipe, path)
    again = tmp_path / "again.yaml"
    again.write_text(settings_to_yaml(recipe), "utf-8")
    assert read_settings(Recipe, again) == recipe


def test_changes_stand_above_the_file():
    path = ROOT / "configs" / "train" / "tiny.yaml"
    changes = ["train.steps=1e", "steps=77", "data.sources=[a, b]", "learning_rate=1e-4"]
    recipe = read_settings(Recipe, path, changes[2:])
    assert recipe.data.sources == ("a", "b")
    assert recipe.train.learning_rate == 1e-4
    assert recipe.model.dim == 64
    with pytest.raises(ConfigError, match=r"train.steps cannot be '1e'\n  Give it a whole number"):
        read_settings(Recipe, path, changes[:1])
    assert read_settings(Recipe, path, changes[1:2]).train.steps == 77


@dataclass(frozen=True)
class _Twice:
    one: SnapshotConfig = field(default_factory=SnapshotConfig)
    two: SnapshotConfig = field(default_factory=SnapshotConfig)


def test_a_key_of_two_sections_needs_its_section():
    with pytest.raises(ConfigError, match=r"'at' is ambiguous\n  Write one of one.at, two.at"):
        read_settings(_Twice, None, ["at=[3]"])
    assert read_settings(_Twice, None, ["two.at=[3]"]) == _Twice(two=SnapshotConfig(at=(3,)))


def test_no_key_of_a_recipe_is_in_two_sections():
    keys = [key for section in asdict(Recipe()).values() for key in section]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.heads=3", "model.heads cannot be 3\n  Choose a value: a divisor of dim"),
        ("model.kv_heads=3", "kv_heads cannot be 3"),
        ("dropout=1", "train.dropout cannot be 1"),
        ("learning_rate=nan", "learning_rate cannot be nan"),
        ("train.warmup=601", "at most steps = 600"),
        ("schedule=cosin", "Choose one of cosine, linear, wsd, constant"),
        ("learning-rate=1", "Did you mean 'train.learning_rate'"),
        ("qk_norm=maybe", "Write true or false"),
        ("batch", "is not KEY=VALUE"),
    ],
)
def test_wrong_values_are_refused_with_key_and_remedy(change, message):
    with pytest.raises(ConfigError) as caught:
        read_settings(Recipe, None, [change])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modl: {}", "unknown section 'modl'\n  Did you mean 'model'?"),
        ("model: {dims: 3}", "unknown key model.dims\n  Did you mean 'dim'?"),
        ("model: 3", "model is not a mapping"),
        ("- model", "is not a mapping"),
        ("model: {dim: [1, 2]}", "Give it one value"),
        ("model: {", "Check the file's path and its YAML syntax"),
    ],
)
def test_wrong_files_are_refused(text, message, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        read_settings(Recipe, path)
    assert message in str(caught.value)

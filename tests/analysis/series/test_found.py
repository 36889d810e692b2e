"""Which checkpoints a folder, several paths or a repository have."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hub_server import commit_of
from series_of_checkpoints import UP, checkpoints, write_checkpoint
from weightfiles import write_safetensors

from mlx_probe.analysis.series.found import find_checkpoints
from mlx_probe.core.errors import ConfigError, SourceError

ARRAYS = {UP: np.ones((4, 3))}


def found(*references, **settings):
    listing = find_checkpoints([str(each) for each in references], **settings)
    return {each.step: each.name for each in listing.checkpoints}, dict(listing.left_out)


def test_a_folder_of_a_trainer(tmp_path):
    checkpoints(tmp_path, 3)
    write_checkpoint(tmp_path, ARRAYS)  # the final model, as the trainer leaves it
    write_checkpoint(tmp_path / "best", ARRAYS)
    write_checkpoint(tmp_path / "tmp-checkpoint-400", ARRAYS)
    (tmp_path / "runs").mkdir()
    steps, left = found(tmp_path)
    assert steps == {100: "checkpoint-100", 200: "checkpoint-200", 300: "checkpoint-300"}
    assert left == {"best": "no step in its name"}


def test_the_order_is_that_of_the_numbers(tmp_path):
    for step in (1000, 20, 3):
        write_checkpoint(tmp_path / f"step{step}", ARRAYS)
    assert list(found(tmp_path)[0]) == [3, 20, 1000]


def test_the_trainer_knows_the_step(tmp_path):
    for epoch in (1, 2):
        write_checkpoint(tmp_path / f"epoch-{epoch}", ARRAYS, step=epoch * 50)
    assert found(tmp_path)[0] == {50: "epoch-1", 100: "epoch-2"}


def test_a_trainer_that_knows_some_steps_only(tmp_path):
    write_checkpoint(tmp_path / "epoch-1", ARRAYS, step=50)
    write_checkpoint(tmp_path / "epoch-2", ARRAYS)
    with pytest.raises(ConfigError, match=r"epoch-1 is of step 50, and epoch-2 has no such file"):
        found(tmp_path)
    assert found(tmp_path, steps="epoch-{step}")[0] == {1: "epoch-1", 2: "epoch-2"}


def test_our_own_training(tmp_path):
    (tmp_path / "recipe.yaml").write_text("{}")
    checkpoints(tmp_path / "checkpoints", 2, names="step-{}")
    assert list(found(tmp_path)[0]) == [100, 200]
    checkpoints(tmp_path / "snapshots", 3, names="step-{}", every=1)
    assert list(found(tmp_path)[0]) == [1, 2, 3]


def test_adapters_of_mlx_lm(tmp_path):
    for name in ("0000100_adapters", "0000200_adapters", "adapters"):
        write_safetensors(tmp_path / f"{name}.safetensors", {"a": np.ones((2, 2), np.float32)})
    listing = find_checkpoints([str(tmp_path)])
    assert [each.step for each in listing.checkpoints] == [100, 200]
    assert Path(listing.checkpoints[0].model).is_file()


def test_several_models(tmp_path):
    for name in ("first", "second"):
        write_checkpoint(tmp_path / name, ARRAYS)
    two = [tmp_path / "first", tmp_path / "second"]
    assert found(*two, steps="10,5")[0] == {5: "second", 10: "first"}
    with pytest.raises(ConfigError, match=r"not one number for each of the 2"):
        found(*two, steps="10")
    with pytest.raises(ConfigError, match="not clear"):
        found(*two)
    with pytest.raises(SourceError, match="does not exist"):
        found(tmp_path / "step1", tmp_path / "step2")


def test_one_model_is_no_series(tmp_path):
    write_checkpoint(tmp_path, ARRAYS)
    assert found(tmp_path) == ({}, {})
    with pytest.raises(ConfigError, match="is one file"):
        found(tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="names one model"):
        found("owner/name")


@pytest.fixture
def repository(hub, tmp_path):
    write_checkpoint(tmp_path / "model", ARRAYS)
    files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    hub.repos["owner/name"] = dict.fromkeys(("main", "step20", "step100", "other"), files)
    return hub


def test_revisions(repository):
    listing = find_checkpoints(["owner/name"], revisions=["step*"])
    assert [(each.step, each.revision) for each in listing.checkpoints] == [
        (20, commit_of("owner/namestep20")),
        (100, commit_of("owner/namestep100")),
    ]
    assert len(commit_of("x")) == len(hashlib.sha1(b"x").hexdigest())
    assert found("owner/name@step100,step20")[0] == {20: "step20", 100: "step100"}
    steps, left = found("owner/name", revisions=["*"])
    assert list(steps) == [20, 100]
    assert left == {"main": "no step in its name", "other": "no step in its name"}


def test_missing_revisions(repository):
    with pytest.raises(SourceError, match="no branch or tag 'step9'") as refused:
        found("owner/name@step20,step9")
    assert "step100" in refused.value.remedy
    with pytest.raises(SourceError, match="has no model owner/none"):
        found("owner/none", revisions=["*"])
    repository.stop()
    with pytest.raises(SourceError, match="does not answer"):
        found("owner/name", revisions=["*"])

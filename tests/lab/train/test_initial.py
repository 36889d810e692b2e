"""What a training can go on from, in the place of new weights."""

import shutil

import mlx.core as mx
import pytest
from tiny_llm import make_model, make_tokenizer

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.train.initial import open_initial


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("initial")
    with mx.stream(mx.cpu):
        return make_model(root / "model", make_tokenizer(root / "tokenizer"))


@pytest.fixture
def run(model, tmp_path):
    """The folder of a finished run, with a snapshot, which has no tokenizer of its own."""
    shutil.copytree(model, tmp_path / "run" / "model")
    (tmp_path / "run" / "run_meta.json").write_text("{}", "utf-8")
    snapshot = tmp_path / "run" / "snapshots" / "step-3"
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(model / name, snapshot)
    return tmp_path / "run"


@pytest.mark.parametrize("part", ["", "run_meta.json", "model", "snapshots/step-3"])
def test_the_parts_of_a_run_have_its_shape_and_its_tokenizer(part, run, model):
    expected = open_initial(str(model))
    initial = open_initial(str(run / part))
    assert initial.shape == expected.shape
    initial.refuse_other(expected.tokenizer)
    weights = initial.read()
    assert {name: array.shape for name, array in weights.items()} == {
        name: array.shape for name, array in expected.read().items()
    }


def test_a_model_without_a_tokenizer_is_refused(model, tmp_path):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(model / name, tmp_path)
    with pytest.raises(SourceError, match="tokenizer"):
        open_initial(str(tmp_path))

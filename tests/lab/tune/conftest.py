import shutil

import mlx.core as mx
import pytest
from tiny_llm import make_model, make_tokenizer
from tuning import write_data

from mlx_probe.lab.device import use_device


@pytest.fixture(autouse=True)
def on_the_cpu():
    before = mx.default_device()
    use_device("cpu")
    yield
    mx.set_default_device(before)


@pytest.fixture(scope="session")
def talker(tmp_path_factory):
    """A tiny model whose context holds a conversation. Read only."""
    root = tmp_path_factory.mktemp("talker")
    with mx.stream(mx.cpu):
        tokenizer = make_tokenizer(root / "tokenizer", "bytes", 330)
        return make_model(root / "model", tokenizer, scale=1.0, context=256)


@pytest.fixture(scope="session")
def as_mlx_lm(talker, tmp_path_factory):
    """The same, as a family that mlx-lm runs."""
    folder = shutil.copytree(talker, tmp_path_factory.mktemp("mistral") / "model")
    config = (folder / "config.json").read_text().replace('"llama"', '"mistral"')
    (folder / "config.json").write_text(config)
    return folder


@pytest.fixture(scope="session")
def talks(tmp_path_factory):
    """Conversations. Read only."""
    return write_data(tmp_path_factory.mktemp("talks"))

import pytest
from hub_server import hub  # noqa: F401  a fixture
from token_folders import sentences

from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
from mlx_probe.lab.data.tokenize import tokenize
from mlx_probe.lab.data.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def ready(tmp_path_factory):
    """A tokenizer that is there: training one takes longer than most tests here."""
    folder = tmp_path_factory.mktemp("tokenizer")
    config = TokenizerConfig(chat_template="none")
    train_tokenizer(config, 320, sentences(300), folder)
    return TokenizerConfig(kind=str(folder))


@pytest.fixture
def run(tmp_path, ready):
    """Tokenizes sources with `ready`, or another tokenizer."""

    def go(*sources, out=tmp_path / "tokens", tokenizer=ready, vocabulary=0, **settings):
        options = {
            name: settings.pop(name)
            for name in ("overwrite", "on_progress", "watch")
            if name in settings
        }
        data = DataConfig(sources=tuple(map(str, sources)), **{"workers": 1, **settings})
        return tokenize(data, tokenizer, vocabulary, out, **options)

    return go

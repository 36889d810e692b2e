import pytest
from models import arrays, tiny  # noqa: F401  fixtures
from training import RECIPE, results_of, write_tokens

from mlx_probe.lab.train.train import train


@pytest.fixture(scope="session")
def tokens(tmp_path_factory):
    """Tokens to train on. Read only."""
    return write_tokens(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="session")
def undisturbed(tokens, tmp_path_factory):
    """What a run that nothing disturbs writes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train(RECIPE, folder, data=[tokens], device="cpu")
    return results_of(folder)

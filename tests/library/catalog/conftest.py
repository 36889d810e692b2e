import pytest

from mlx_probe.library.catalog import open_database


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """An empty home, so that no test sees this machine's own models."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("MLX_PROBE_CACHE", str(folder / "cache"))
    monkeypatch.setenv("MLX_PROBE_CATALOG", str(folder / "catalog.sqlite"))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
    return folder


@pytest.fixture
def database(home):
    with open_database(home / "catalog.sqlite") as opened:
        yield opened

import pytest
from hub_models import REPO, make_files
from hub_server import hub  # noqa: F401  a fixture


@pytest.fixture
def files(hub, tmp_path, monkeypatch):  # noqa: F811
    """A repository called owner/name; its files at main."""
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    hub.repos[REPO] = {"main": make_files(), "v2": make_files(2)}
    return hub.repos[REPO]["main"]


@pytest.fixture
def no_sleep(monkeypatch):
    monkeypatch.setattr("mlx_probe.source.transfer.retry.time.sleep", lambda seconds: None)

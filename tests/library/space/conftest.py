import pytest
from stores_on_disk import empty_home

from mlx_probe.library.catalog import open_database


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return empty_home(monkeypatch, tmp_path / "home")


@pytest.fixture
def database(home):
    with open_database(home / "catalog.sqlite") as opened:
        yield opened

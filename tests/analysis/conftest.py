import pytest
from models import arrays, copied, one_by_one, tiny, whole  # noqa: F401  fixtures
from tables import columns, rows, table  # noqa: F401  fixtures


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder that the test works in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path

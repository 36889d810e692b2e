import pytest
from hub_server import hub  # noqa: F401  a fixture


@pytest.fixture
def weights():
    """Content of a weight file that no source looks into."""
    return bytes(range(256)) * 40

import numpy as np
import pytest
from hub_server import hub

__all__ = ["hub"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)

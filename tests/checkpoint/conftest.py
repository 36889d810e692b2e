import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 1024 along the long side, whatever the shape."""
    monkeypatch.setattr("mlx_probe.checkpoint.weight._CHUNK_ELEMENTS", 1)

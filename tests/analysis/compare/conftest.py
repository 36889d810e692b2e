import numpy as np
import pytest
from pairs import base_model, saved


@pytest.fixture(scope="session")
def arrays():
    return base_model(np.random.default_rng(3))


@pytest.fixture(scope="session")
def base(tmp_path_factory, arrays):
    return saved(tmp_path_factory.mktemp("compare") / "base", arrays)

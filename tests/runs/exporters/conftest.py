import pytest
from exported_runs import STEPS, training_folder


@pytest.fixture
def run(tmp_path):
    """A training that still writes its metrics."""
    return training_folder(tmp_path / "run", STEPS[:4])

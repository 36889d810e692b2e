import pytest
from clusters import LoopbackCluster, preload

# A worker that is started with this dies when it begins the unit that the file names.
DEADLY = """
import os
import time
from pathlib import Path
from mlx_probe.analysis.cluster import session


# Called once; the module itself is run twice.
def dask_setup(worker):
    file, real = Path({file!r}), session.run

    def run(token, unit):
        if file.exists() and file.read_text() == str(unit):
            # Results before it are on their way.
            time.sleep(0.3)
            os._exit(1)
        return real(token, unit)

    session.run = run
"""


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory):
    """A cluster of two workers, and the file that names the unit at which a worker dies."""
    folder = tmp_path_factory.mktemp("two_workers")
    words = preload(folder / "deadly.py", DEADLY, file=str(folder / "deadly"))
    with LoopbackCluster(folder, workers=0) as started:
        for number in range(2):
            started.start_worker(f"w{number}", words)
        started.wait_for_workers(2)
        yield started, folder / "deadly"

import gc
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
from clusters import LoopbackCluster, preload

# A client of Dask that is closed while it connects leaves that socket to the garbage collector: one
# in ten, measured. Only here is that no fault.
_SOCKET = "unclosed <socket"


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{_SOCKET}:ResourceWarning"))


@pytest.fixture(scope="module", autouse=True)
def no_socket_is_left():
    """The sockets of Dask are collected before the tests of another module begin."""
    yield
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _SOCKET, ResourceWarning)
        gc.collect()


# A worker that is started with this dies at a unit whose text begins with that of the file.
DEADLY = """
import os
import time
from pathlib import Path
from mlx_probe.analysis.cluster import session


# Called once; the module itself is run twice.
def dask_setup(worker):
    file, real = Path({file!r}), session.run

    def run(token, unit):
        if file.exists() and str(unit).startswith(file.read_text()):
            # Results before it are on their way.
            time.sleep(0.3)
            os._exit(1)
        return real(token, unit)

    session.run = run
"""


class Workers(LoopbackCluster):
    """A cluster of three workers, which can be made to die."""

    def __init__(self, folder):
        super().__init__(folder, workers=0)
        self._deadly = folder / "deadly"
        self._words = preload(folder / "deadly.py", DEADLY, file=str(self._deadly))
        self.start(["w0", "w1", "w2"])

    @contextmanager
    def dying_at(self, unit):
        """Workers die at units whose text begins so; the names of those that did, in the end."""
        dead = []
        self._deadly.write_text(unit)
        try:
            yield dead
        finally:
            self._deadly.unlink()
            dead += [name for name, worker in self.workers.items() if worker.poll() is not None]
            self.start(dead)

    def start(self, names):
        for name in names:
            self.start_worker(name, self._words)
        self.wait_for_workers(3)


@pytest.fixture(scope="session")
def three_workers(tmp_path_factory):
    with Workers(tmp_path_factory.mktemp("three_workers")) as started:
        yield started

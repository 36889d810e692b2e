"""Workers of Dask on this machine, as processes of their own that differ from each other."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

from project import ROOT

# Scripts that a worker runs before it starts.
ANOTHER_VERSION = "import mlx_probe.core.version as v; v.__version__ = '0.0.9'"
NO_PROBE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlx_probe":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def start_dask(*arguments, log, **environment):
    """A process of `dask scheduler` or `dask worker`; what it says goes to a file."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
            stdout=output,
            stderr=output,
        )


@contextmanager
def scheduler(folder):
    """A scheduler by its address, and the list of processes that end with it."""
    port = free_port()
    log = folder / "scheduler.log"
    options = ("--host", "127.0.0.1", "--port", port, "--no-dashboard")
    processes = [start_dask("scheduler", *options, log=log)]
    try:
        yield f"tcp://127.0.0.1:{port}", processes
    finally:
        for process in reversed(processes):
            process.kill()
        for process in processes:
            process.wait()


def start_worker(address, name, folder, *options, memory="2e9", preload=None, **environment):
    """A worker with a name; ``memory`` None declares none."""
    if preload is not None:
        script = folder / f"{name}.py"
        script.write_text(preload)
        options = (*options, "--preload", script)
    if memory is not None:
        options = (*options, "--resources", f"MEMORY={memory}")
    fixed = ("--nthreads", 1, "--no-nanny", "--no-dashboard", "--local-directory", folder)
    log = folder / f"{name}.log"
    return start_dask("worker", address, "--name", name, *fixed, *options, log=log, **environment)


def wait_for(client, count, seconds=30):
    """Wait until a scheduler has so many workers."""
    end = time.monotonic() + seconds
    while len(client.scheduler_info(n_workers=-1)["workers"]) < count:
        assert time.monotonic() < end, "the workers have not started"
        time.sleep(0.05)

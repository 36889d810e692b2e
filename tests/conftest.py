import fcntl
import gc
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import repetitions
from hypothesis import HealthCheck, settings
from project import SMOLLM2
from threadpoolctl import threadpool_limits
from tinymodel import COMMAND, weights
from training_runs import make_run
from weightfiles import write_safetensors

from mlx_probe.compute import native
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.compute.backends.mlx import prepare_mlx
from mlx_probe.core.language import VARIABLE

# Tests import MLX themselves, and its BLAS must be there before the threads are limited.
prepare_mlx()

# How fast a busy machine draws an example, or runs one, says nothing of the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# What BLAS libraries and PyTorch read when they are loaded.
ONE_THREAD = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

# What a shell says of its terminal: a test that needs a terminal makes one.
TERMINAL = ("COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")


def pytest_addoption(parser):
    parser.addoption(
        "--long", action="store_true", help="the long form of tests that have a shorter one"
    )


def pytest_configure(config):
    repetitions.asked = config.getoption("--long")


def pytest_collection_modifyitems(config, items):
    """Files with slow tests first, where several processes share the files; no long forms."""
    if not repetitions.asked:
        left = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    """Tests and modules stay: garbage is looked for among what comes later only."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_terminal():
    """The same for all: no terminal, and English."""
    with pytest.MonkeyPatch.context() as patch:
        for name in TERMINAL:
            patch.delenv(name, raising=False)
        # Whatever language the system has.
        patch.setenv(VARIABLE, "en")
        yield


@pytest.fixture(scope="session", autouse=True)
def own_data(tmp_path_factory):
    """Catalog, tokens, environments and lists of documents of the tests, not of their user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLX_PROBE_DATA", str(tmp_path_factory.mktemp("data")))
        patch.delenv("MLX_PROBE_CATALOG", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def kept_bytecode():
    """Hundreds of starts of the command: compiling the package is three quarters of one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread_a_process():
    """Two processes share two cores, and each starts commands: threads that wait take the cores."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ONE_THREAD:
            patch.setenv(name, "1")
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A training run with measured snapshots, made up; tests that change files copy it."""
    return make_run(tmp_path_factory.mktemp("training") / "run")


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    """Small matrices gain nothing by more, and on a busy machine lose seconds each."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 1024 along the long side, whatever the shape."""
    monkeypatch.setattr("mlx_probe.checkpoint.weight._CHUNK_ELEMENTS", 1)


# For the session: backends keep no state, and Hypothesis wants no fixture per example.
@pytest.fixture(scope="session", params=BACKENDS)
def backend(request):
    """Every backend on its CPU: a new one inherits all tests that ask for this."""
    return BACKENDS[request.param]("cpu")


@pytest.fixture(params=["native", "without"])
def kernels(request, monkeypatch):
    """Every test that asks for this runs twice: with compiled kernels, and without them.

    Holds for all threads, and for commands that the test starts. It keeps nothing for an example
    of Hypothesis: such a test suppresses `HealthCheck.function_scoped_fixture`.
    """
    unusable = [f"{each.name}: {each.reason}" for each in native.statuses() if each.reason]
    if request.param == "without":
        monkeypatch.setenv(native.VARIABLE, "0")
    elif unusable:
        pytest.skip("; ".join(unusable))
    return request.param


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory):
    """A run of a real language model by the installed command. Read only.

    One for all processes that share the tests. The model is fetched once, 98 MB.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    out = shared / "smollm2"
    # What the plan says of memory was measured with two workers.
    options = ["--workers", "2", "--format", "parquet", "--format", "csv", "--out", out]
    with (shared / "smollm2.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "run_meta.json").exists():
            subprocess.run([COMMAND, "analyze", SMOLLM2, *options], check=True, capture_output=True)
    return out


@pytest.fixture
def on_disk():
    """A folder that is not in memory, where `make test` has the others."""
    # Of pages of a mapped file in memory others count as the process's own.
    with tempfile.TemporaryDirectory(dir="/var/tmp" if Path("/var/tmp").is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", weights(np.random.default_rng(0)))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder

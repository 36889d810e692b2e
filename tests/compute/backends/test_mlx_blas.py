"""The BLAS that MLX calls on Linux: chosen before MLX is imported, so in processes of their own."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from mlx_probe.compute.backends.mlx import blas, runs_on_cpu_only

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is loaded"),
]

START = """
import os, time
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits
from mlx_probe.compute import lapack
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.compute.backends.mlx.blas import mlx_blas

def rate(side=512):
    import mlx.core as mx
    a, seconds = mx.ones((side, side)), []
    for _ in range(4):
        began = time.perf_counter()
        mx.eval(mx.matmul(a, a, stream=mx.cpu))
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / min(seconds)

def numbers(backend):
    '''Bits of a product, an eigenvalue problem of numpy and one of ours, and a Gram matrix.'''
    x = np.random.default_rng(1).standard_normal((600, 200))
    words = x.astype(np.float16)
    gram = backend.gram_pass(*words.shape, "F16")
    gram.add(backend.load(words, "F16"))
    parts = [x @ x.T, np.linalg.eigvalsh(x.T @ x), lapack.eigenvalues(x.T @ x)]
    parts.append(np.triu(gram.finish().matrix))
    return [hash(part.tobytes()) for part in parts]
"""


def run(script, *, preload=None, **setting):
    """Output of a script in a process of its own, one line each."""
    environment = {k: v for k, v in os.environ.items() if k not in (blas.VARIABLE, "LD_PRELOAD")}
    environment |= {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "2", **setting}
    if preload:
        environment["LD_PRELOAD"] = preload
    done = subprocess.run(
        [sys.executable, "-c", START + script], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def tuned():
    """Path of the tuned BLAS that the search finds here."""
    (path,) = run("BACKENDS['mlx']('cpu'); print(mlx_blas())")
    if path == "None":
        pytest.skip("no tuned BLAS on this machine")
    return path


@pytest.fixture(scope="module")
def reference():
    """Path of the reference BLAS in MLX's own package."""
    files = metadata.files("mlx-cpu") or []
    return next(str(f.locate().resolve()) for f in files if f.name.startswith("libblas"))


RATE_AND_LIBRARY = "BACKENDS['mlx']('cpu'); print(rate()); print(mlx_blas())"


@pytest.mark.parametrize("off", ["0", "off"])
def test_a_tuned_library_is_several_times_faster(tuned, off):
    rate, library = run(RATE_AND_LIBRARY)
    slow, none = run(RATE_AND_LIBRARY, **{blas.VARIABLE: off})
    assert (library, none) == (tuned, "None")
    assert float(rate) > 4 * float(slow)


def test_a_library_can_be_named(reference):
    _, library = run(RATE_AND_LIBRARY, **{blas.VARIABLE: reference})
    assert library == reference


def test_a_preloaded_library_is_kept(tuned, reference):
    _, library = run(RATE_AND_LIBRARY, preload=tuned, **{blas.VARIABLE: reference})
    assert library == tuned


def test_numbers_do_not_depend_on_it(tuned):
    script = "print(numbers(BACKENDS['mlx']('cpu')))"
    off = run(script, **{blas.VARIABLE: "0"})
    assert run(script) == off
    assert run(script, preload=tuned) == off


def test_limits_hold_for_both_libraries(tuned):
    script = """
BACKENDS['mlx']('cpu')
def threads():
    return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()
            if pool["user_api"] == "blas"}
with threadpool_limits(1, user_api="blas"):
    print(threads())
    rate(64)
print(threads())
"""
    limited, free = map(eval, run(script))
    assert len(limited) >= 2
    assert set(limited.values()) == {1}
    assert free[tuned] == 2 or "openblas" not in tuned


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_compute_the_same(tuned, method, tmp_path):
    # A spawned child imports the script anew.
    path = tmp_path / "script.py"
    path.write_text(
        START
        + f"""
import multiprocessing, sys

def child(_):
    backend = BACKENDS["mlx"]("cpu")
    return mlx_blas(), numbers(backend)

if __name__ == "__main__":
    from mlx_probe.compute.backends.mlx import prepare_mlx
    prepare_mlx()
    a = np.ones((300, 300))
    a @ a
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        first, second = pool.map_async(child, range(2)).get(timeout=120)
    assert first == second == child(0), (first, second)
    print(first[0])
"""
    )
    environment = {k: v for k, v in os.environ.items() if k != blas.VARIABLE}
    environment["PYTHONHASHSEED"] = "0"
    done = subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == tuned


@pytest.mark.parametrize(
    ("name", "says"), [("/no/such/library.so", "cannot be loaded"), ("libm.so.6", "is no BLAS")]
)
def test_what_is_no_blas_is_an_error_with_a_remedy(name, says):
    script = f"""
from mlx_probe.core.errors import ConfigError
try:
    BACKENDS["mlx"]("cpu")
except ConfigError as error:
    assert {says!r} in error.fact, error
    assert {name!r} in error.fact, error
    print(error.remedy)
"""
    (remedy,) = run(script, **{blas.VARIABLE: name})
    assert blas.VARIABLE in remedy


def test_nothing_is_loaded_where_mlx_cannot_use_it():
    """For "auto", an MLX without a GPU is neither imported nor given a library."""
    if not runs_on_cpu_only():
        pytest.skip("MLX has a GPU here")
    script = """
import sys
from mlx_probe.compute.backends import choose_backend
print(choose_backend("auto", "auto")[1])
print("mlx.core" in sys.modules, len(threadpool_info()))
"""
    reason, state = run(script, **{blas.VARIABLE: "/no/such/library.so"})
    assert reason == "numpy on cpu: MLX sees no GPU on this machine"
    assert state == "False 1"


def test_the_environment_is_searched_after_the_system(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    names = ["libmkl_rt.so.2", "libmkl_rt.so.3", "libmkl_core.so.3", "libopenblas.so.0"]
    for name in names:
        (tmp_path / "lib" / name).write_bytes(b"")
    for prefix in ("prefix", "base_prefix"):
        monkeypatch.setattr(sys, prefix, str(tmp_path))
    monkeypatch.setattr(blas.site, "getuserbase", lambda: str(tmp_path / "user"))
    *system, first, second, third, last = blas._candidates()
    assert tuple(system) == blas.SYSTEM
    assert [Path(path).name for path in (first, second, third)] == [
        "libopenblas.so.0",
        "libmkl_rt.so.3",
        "libmkl_rt.so.2",
    ]
    assert last == "libblas.so.3"


def test_a_library_that_does_not_load_is_passed_over(tuned, tmp_path):
    damaged = tmp_path / "libopenblas.so.0"
    damaged.write_bytes(b"no library")
    script = f"""
from mlx_probe.compute.backends.mlx import blas
blas.SYSTEM = ({str(damaged)!r}, *blas.SYSTEM)
BACKENDS["mlx"]("cpu")
print(mlx_blas())
"""
    assert run(script) == [tuned]


def test_without_effect_after_the_import(monkeypatch):
    import mlx.core  # noqa: F401

    monkeypatch.setenv(blas.VARIABLE, "/no/such/library.so")
    before = blas.mlx_blas()
    blas.load_blas()
    assert blas.mlx_blas() == before


def test_without_one_a_run_says_that_mlx_is_slow_here(tuned):
    script = (
        "from mlx_probe.compute.backends import choose_backend\n"
        "print(choose_backend('mlx', 'cpu')[1])"
    )
    assert run(script) == ["mlx on cpu: as asked"]
    (slow,) = run(script, **{blas.VARIABLE: "0"})
    assert slow.startswith("mlx on cpu: as asked; its own BLAS is many times slower")

"""Where MLX computes: before it is imported, and in this process."""

import os
import re
import subprocess
import sys

import mlx.core as mx
import pytest

from mlx_probe.core.errors import BackendError
from mlx_probe.lab import device, precompiled_header
from mlx_probe.lab.device import compiles, device_label, use_device


@pytest.fixture(autouse=True)
def same_device():
    before = mx.default_device()
    yield
    mx.set_default_device(before)


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_the_device_in_use(name):
    chosen = use_device(name)
    assert mx.default_device() == chosen
    wanted = mx.gpu if name == "auto" and mx.is_available(mx.gpu) else mx.cpu
    assert chosen.type == wanted
    assert device_label().startswith("gpu" if wanted == mx.gpu else "cpu")


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(device.mx, "is_available", lambda kind: False)
    with pytest.raises(BackendError, match="no GPU"):
        use_device("gpu")


def test_no_compiler(monkeypatch):
    use_device("cpu")
    monkeypatch.setattr(device, "COMPILER", "no-such-compiler")
    device._compiles_on_cpu.cache_clear()
    works, reason = compiles()
    device._compiles_on_cpu.cache_clear()
    assert not works
    assert "no-such-compiler" in reason


def test_a_compiler_that_fails(monkeypatch):
    def fails(function):
        raise RuntimeError("[Compile::eval_cpu] Failed to compile function\nlines of g++")

    use_device("cpu")
    monkeypatch.setattr(device, "COMPILER", sys.executable)
    monkeypatch.setattr(device, "precompile_header", lambda compiler: None)
    monkeypatch.setattr(device.mx, "compile", fails)
    device._compiles_on_cpu.cache_clear()
    works, reason = compiles()
    device._compiles_on_cpu.cache_clear()
    assert not works
    assert "Failed to compile function" in reason
    assert "lines of g++" not in reason


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="GCC on Linux only")
def test_the_precompiled_header_gives_the_same_kernels(tmp_path):
    """Once without the header and once with it, each in an empty folder for temporary files."""
    code = (
        "import sys\n"
        "from mlx_probe.lab import device\n"
        "import mlx.core as mx\n"
        "if sys.argv[1] == 'without': device.precompile_header = lambda compiler: None\n"
        "device.use_device('cpu')\n"
        "assert device.compiles()[0], device.compiles()\n"
    )
    kernels = {}
    for way in ("without", "with"):
        folder = tmp_path / way
        folder.mkdir()
        environment = {**os.environ, "TMPDIR": str(folder)}
        subprocess.run([sys.executable, "-c", code, way], env=environment, check=True)
        # A kernel names its source, a file of a random name.
        kernels[way] = {
            path.name: re.sub(rb"(tmp_[0-9a-f]+|\.[0-9]{10})\.cpp", b"", path.read_bytes())
            for path in folder.rglob("*.so")
        }
        assert len(list(folder.rglob("*.gch"))) == (way == "with")
        assert not list(folder.rglob(".*.gch"))
    assert len(kernels["with"]) == 1
    assert kernels["with"] == kernels["without"]


def test_a_header_that_cannot_be_compiled_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(precompiled_header.tempfile, "gettempdir", lambda: str(tmp_path))
    precompiled_header.precompile_header("no-such-compiler")
    assert not list(tmp_path.rglob("*.gch"))


def test_compiling_switched_off(monkeypatch):
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")
    assert compiles() == (False, "MLX_DISABLE_COMPILE is set")


def test_any_module_of_the_lab_prepares_mlx():
    code = (
        "import os, sys\n"
        "import mlx_probe.lab.data.config\n"
        "assert 'mlx.core' not in sys.modules\n"
        "print(os.environ['MLX_ENABLE_TF32'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "MLX_ENABLE_TF32"}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert ran.stdout.strip() == "0", ran.stderr

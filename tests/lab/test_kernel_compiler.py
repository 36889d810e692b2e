"""Several processes that compile the same kernels at once."""

import os
import shutil
import subprocess
import sys

import pytest

from mlx_probe.lab import kernel_compiler
from mlx_probe.lab.kernel_compiler import use_kernel_compiler

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")

# Writes half of a kernel, and the rest a second later.
SLOW = """\
#!/bin/sh
for target in "$@"; do :; done
{compiler} "$@" || exit
case $target in *.so)
    cp "$target" "$target.whole"
    truncate -s 1000 "$target"
    sleep 1
    cp "$target.whole" "$target"
    rm "$target.whole"
esac
"""
COMPUTE = """\
import sys, time
from mlx_probe.lab import device
import mlx.core as mx
device.precompile_header = lambda compiler: None
device.use_device("cpu")
time.sleep(float(sys.argv[1]))
assert device.compiles()[0], device.compiles()
print(mx.compile(lambda x: mx.tanh(x) * x - 1)(mx.zeros(1)).item())
"""


@pytest.mark.slow
def test_no_process_loads_half_a_kernel(tmp_path):
    compiler = tmp_path / "bin" / "g++"
    compiler.parent.mkdir()
    compiler.write_text(SLOW.format(compiler=shutil.which("g++")), "utf-8")
    compiler.chmod(0o755)
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "MLX_PROBE_CACHE": str(tmp_path / "cache"),
        "PATH": f"{compiler.parent}{os.pathsep}{os.environ['PATH']}",
    }
    # So that some process looks for a kernel while another writes it.
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMPUTE, str(wait)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for wait in (0, 0.5)
    ]  # fmt: skip
    assert [process.communicate()[0] for process in processes] == ["-1.0\n"] * len(processes)
    folder = next(tmp_path.glob("mlx/*/cpu"))
    assert len(list(folder.glob("lib*.so"))) == 2
    assert not list(folder.glob(".*"))


def script(tmp_path, monkeypatch, compiler):
    """The script for a compiler, first in PATH."""
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_compiler.shutil, "which", lambda name: str(compiler))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    use_kernel_compiler("g++")
    monkeypatch.undo()
    return next((tmp_path / "cache").rglob("g++"))


def test_errors_of_the_compiler_and_other_calls(tmp_path, monkeypatch):
    ours = script(tmp_path, monkeypatch, shutil.which("g++"))
    version = subprocess.run([ours, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == subprocess.check_output(["g++", "--version"], text=True)
    folder = tmp_path / "mlx" / "0" / "cpu"
    folder.mkdir(parents=True)
    (folder / "wrong.cpp").write_text("no C++ {\n}\n", "utf-8")
    call = [ours, "-shared", folder / "wrong.cpp", "-o", folder / "libwrong.so"]
    ran = subprocess.run(call, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "error" in ran.stderr
    assert [path.name for path in folder.iterdir()] == ["wrong.cpp"]


def test_a_cache_folder_that_allows_nothing(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file", "utf-8")
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    before = os.environ["PATH"]
    use_kernel_compiler("g++")
    assert os.environ["PATH"] == before

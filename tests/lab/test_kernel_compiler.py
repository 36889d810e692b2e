"""What the script in front of MLX's compiler does with its calls."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from mlx_probe.lab import kernel_compiler
from mlx_probe.lab.kernel_compiler import use_kernel_compiler

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")

# Writes half of a kernel, says so, and writes the rest when it may go on.
SLOW = """\
#!/bin/sh
for target in "$@"; do :; done
printf half > "$target"
touch {folder}/half
until [ -e {folder}/go ]; do sleep 0.05; done
printf whole > "$target"
"""
# Notes what it should write, and fails.
NOTING = """\
#!/bin/sh
for target in "$@"; do :; done
case $target in *.so) echo "$target" >> {folder}/asked; exit 1 ;; esac
"""
COMPUTE = """\
from mlx_probe.lab import device
device.precompile_header = lambda compiler: None
device.use_device("cpu")
print(device.compiles()[0])
"""


def script(tmp_path, monkeypatch, compiler):
    """The script for a compiler, first in PATH."""
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_compiler.shutil, "which", lambda name: str(compiler))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    use_kernel_compiler("g++")
    monkeypatch.undo()
    return next((tmp_path / "cache").rglob("g++"))


def compiler_of(tmp_path, text):
    """A program named g++."""
    compiler = tmp_path / "bin" / "g++"
    compiler.parent.mkdir()
    compiler.write_text(text.format(folder=tmp_path), "utf-8")
    compiler.chmod(0o755)
    return compiler


# The first until MLX 0.32.3, which loads it as soon as it exists.
@pytest.mark.parametrize("name", ["lib1.so", "tmp_0a1b2c3d.so"])
def test_a_kernel_is_whole_or_not_there_and_ctrl_c_does_not_end_it(tmp_path, monkeypatch, name):
    ours = script(tmp_path, monkeypatch, compiler_of(tmp_path, SLOW))
    folder = tmp_path / "mlx" / "0" / "cpu"
    folder.mkdir(parents=True)
    (folder / "1.cpp").write_text("int one() {\n}\n", "utf-8")
    call = [ours, "-shared", folder / "1.cpp", "-o", folder / name]
    process = subprocess.Popen(call, start_new_session=True)
    while not (tmp_path / "half").exists() and process.poll() is None:
        time.sleep(0.01)
    there = (folder / name).exists()
    os.killpg(process.pid, signal.SIGINT)
    (tmp_path / "go").touch()
    assert process.wait() == 0
    assert not there
    assert (folder / name).read_text("utf-8") == "whole"
    assert {path.name for path in folder.iterdir()} == {"1.cpp", name}


def test_calls_of_the_installed_mlx_are_known(tmp_path):
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "MLX_PROBE_CACHE": str(tmp_path / "cache"),
        "PATH": f"{compiler_of(tmp_path, NOTING).parent}{os.pathsep}{os.environ['PATH']}",
    }
    call = [sys.executable, "-c", COMPUTE]
    assert subprocess.check_output(call, env=environment, text=True) == "False\n"
    asked = (tmp_path / "asked").read_text("utf-8").split()
    assert re.fullmatch(rf"{tmp_path}/mlx/[\d.]+/cpu/\.\d+\.so", asked[0])


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

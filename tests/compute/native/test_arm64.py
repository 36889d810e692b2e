"""The kernels of elements as an arm64 processor runs them, emulated: the same bits as here.

Needs Debian's gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static.
"""

import platform
import shutil
import subprocess

import pytest
from kernel_sources import KERNELS, extensions
from project import TESTS

DRIVER = TESTS / "compute" / "native" / "every_kind.c"
CROSS, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"


def output(compiler, emulator, target):
    """What the driver prints, compiled by one compiler."""
    flags = [*extensions()["elements"]["extra-compile-args"], "-static", "-I", KERNELS]
    command = [compiler, *flags, DRIVER, "-o", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "No such file" in done.stderr:
        pytest.skip(f"{compiler} lacks the headers of its machine")
    assert done.returncode == 0, done.stderr
    return subprocess.run([*emulator, target], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="arm64 is compared with x86-64")
def test_every_kind_of_block_has_the_bits_that_x86_has(tmp_path):
    missing = [name for name in ("gcc", CROSS, EMULATOR) if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    here = output("gcc", [], tmp_path / "here")
    # All plain and block types: what a decoder is for.
    assert len(here.splitlines()) == 13
    assert output(CROSS, [EMULATOR], tmp_path / "there") == here

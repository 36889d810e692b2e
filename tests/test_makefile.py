"""The targets of the Makefile: commands that a shell can read, repeated when they have to be."""

import os
import re
import shlex
import shutil
import subprocess

import pytest
from project import ROOT

TARGETS = re.findall(
    r"\S+", re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[1]
)


pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
STAMPS = ("installed", "installed-dev", "installed-referees")
KERNELS = "mlx_probe/compute/native/kernels"


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_is_whole_commands(target):
    # As in a fresh clone: everything has to be set up.
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("\\\n", " ").splitlines()
    assert lines
    for line in lines:
        assert shlex.split(line), line
        read = subprocess.run(["sh", "-n", "-c", line], capture_output=True, text=True, check=False)
        assert read.returncode == 0, f"{line}\n{read.stderr}"


@pytest.mark.parametrize("stamp", STAMPS)
@pytest.mark.parametrize(
    "changed", ["pyproject.toml", f"{KERNELS}/one.c", f"{KERNELS}/two.h", None]
)
def test_what_is_compiled_is_installed_again_when_it_changes(tmp_path, stamp, changed):
    shutil.copy(ROOT / "Makefile", tmp_path)
    sources = ["pyproject.toml", f"{KERNELS}/one.c", f"{KERNELS}/two.h"]
    for at, name in enumerate([*sources, ".venv/bin/python", f".venv/{stamp}"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (at, 10**9 + (100 if name == changed else at)))
    make = ["make", "--dry-run", f".venv/{stamp}"]
    done = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ("install" in done.stdout.replace(stamp, "")) == (changed is not None)

"""The targets of the Makefile are commands that a shell can read."""

import re
import shlex
import shutil
import subprocess

import pytest
from project import ROOT

TARGETS = re.findall(
    r"\S+", re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[1]
)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
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

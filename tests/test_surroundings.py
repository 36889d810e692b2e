"""The tests pass in the background, without a terminal and on a narrow one."""

import os
import subprocess
import sys

import pytest
from project import TESTS
from terminal import Terminal
from tinymodel import ignore_ctrl_c

pytestmark = pytest.mark.slow

# What draws, and what a test interrupts.
DRAWN = ["cli/test_cli_output.py", "cli/test_compare.py", "report/test_profile.py"]
INTERRUPTED = [
    "cli/test_command.py::test_ctrl_c_says_what_is_saved",
    "cli/test_download_command.py::test_ctrl_c",
    "cli/test_monitor.py::test_the_dashboard_on_a_terminal_is_left_and_the_job_goes_on",
]


def command(folder, tests):
    options = ["-q", "-p", "no:cacheprovider", "--basetemp", folder / "inner"]
    return [sys.executable, "-m", "pytest", *options, *(TESTS / test for test in tests)]


def test_in_the_background_without_a_terminal(tmp_path):
    def detach():
        ignore_ctrl_c()
        os.close(0)

    done = subprocess.run(
        command(tmp_path, DRAWN + INTERRUPTED),
        env={**os.environ, "COLUMNS": "40", "LINES": "10", "TERM": "dumb", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        preexec_fn=detach,
    )
    assert done.returncode == 0, done.stdout


def test_on_a_narrow_terminal(tmp_path):
    terminal = Terminal(40, 10, *command(tmp_path, DRAWN), term="dumb")
    assert terminal.end(timeout=600) == 0, terminal.text

"""`kill -9` at every line of the replacing, and at any time of the command."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repetitions import LONG
from tinymodel import COMMAND, run

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("killed_at_every_line.py")


# Most lines are the same for both kinds of links. Two strides without a common divisor.
@pytest.mark.parametrize(
    ("kind", "stride"),
    [("hard", 2), ("symbolic", 3), pytest.param("hard", 1, marks=LONG)],
)
@pytest.mark.parametrize("action", ["dedupe", "undo"])
def test_every_path_keeps_its_bytes(tmp_path, action, kind, stride):
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, action, kind, str(stride)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["wrong"] == []
    # Two files: fewer would mean that the lines were not seen.
    assert outcome["steps"] > 60


def test_a_command_killed_at_any_time(home, tmp_path):
    contents = [random.Random(seed).randbytes(1 << 20) for seed in range(3)]
    expected = {}
    for number in range(12):
        path = tmp_path / "models" / f"m{number}" / "model.gguf"
        path.parent.mkdir(parents=True)
        path.write_bytes(contents[number % 3])
        expected[path] = hashlib.sha256(contents[number % 3]).hexdigest()

    def hashes():
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in expected}

    assert run("catalog", "scan", tmp_path / "models", "-q").returncode == 0
    began = time.monotonic()
    for command in ("dedupe", "undo"):
        assert run("catalog", command, "--yes", "-q").returncode == 0
    whole = (time.monotonic() - began) / 2
    random.seed(0)
    killed = 0
    for _ in range(5):
        for command in ("dedupe", "undo"):
            process = subprocess.Popen(
                [COMMAND, "catalog", command, "--yes", "-q"], stderr=subprocess.PIPE
            )
            try:
                process.communicate(timeout=random.random() * whole)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                killed += 1
            assert hashes() == expected
    assert killed
    assert run("catalog", "dedupe", "--yes").returncode == 0
    assert hashes() == expected
    assert len({path.stat().st_ino for path in expected}) == 3
    assert run("catalog", "undo", "--all", "--yes").returncode == 0
    assert hashes() == expected
    assert len({path.stat().st_ino for path in expected}) == 12
    left = [name for _, _, names in os.walk(tmp_path) for name in names if "mlx-probe-" in name]
    assert left == []

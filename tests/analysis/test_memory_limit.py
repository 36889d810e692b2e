"""The whole process keeps to its limit, by the operating system's account."""

import re
import subprocess
import sys

import numpy as np
import pytest
from tinymodel import COMMAND, refused, run
from weightfiles import write_safetensors

import mlx_probe

pytestmark = pytest.mark.slow

# A child's account begins with the memory of what it was forked from, so a small process forks.
LAUNCHER = """
import os, subprocess, sys
_, status, usage = os.wait4(subprocess.Popen(sys.argv[1:]).pid, 0)
print(status, usage.ru_maxrss * (1024 if sys.platform == "linux" else 1))
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """150 MB: a long table, squares, and wide ones whose columns touch all their pages."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**16, 8 * 2**20, np.uint16) & 0xBFFF
    arrays = {
        "model.embed_tokens.weight": (np.tile(words, 5).reshape(-1, 512), "BF16"),
        "model.layers.0.self_attn.q_proj.weight": (words[: 1200**2].reshape(1200, 1200), "BF16"),
        "model.layers.0.self_attn.o_proj.weight": (words[-(1200**2) :].reshape(1200, 1200), "BF16"),
        "model.layers.0.mlp.down_proj.weight": (np.tile(words, 2).reshape(512, -1), "BF16"),
        "model.layers.0.mlp.up_proj.weight": (np.tile(words, 2).reshape(-1, 1024), "BF16"),
    }
    return write_safetensors(tmp_path_factory.mktemp("large") / "model.safetensors", arrays)


@pytest.mark.skipif(sys.platform == "win32", reason="needs wait4")
@pytest.mark.parametrize("workers", [1, 3])
def test_the_limit_holds(path, tmp_path, workers):
    command = [COMMAND, "analyze", path, "--backend", "numpy", "--out", tmp_path / "out", "-q"]
    # Refused, it says how much it needs; that is then enough.
    refusal = refused(run(*command[1:], "--memory-limit", "100MB"), "--memory-limit")
    needed = re.search(r"at least ([\d.]+) (\w+)", refusal)
    limit = int(float(needed[1]) * {"kB": 1e3, "MB": 1e6, "GB": 1e9}[needed[2]])
    command += ["--memory-limit", str(limit), "--workers", str(workers)]
    launched = [sys.executable, "-c", LAUNCHER, *map(str, command)]
    output = subprocess.run(launched, capture_output=True, text=True, check=True).stdout
    status, peak = map(int, output.split())
    assert status == 0
    assert peak <= limit
    frame = mlx_probe.load_run(tmp_path / "out")
    assert (frame["status"] == "ok").all()
    # No empty promise either: the matrices in flight take most of what is asked for.
    assert peak >= 0.5 * limit

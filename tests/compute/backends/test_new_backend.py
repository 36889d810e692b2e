"""One record in BACKENDS is a backend everywhere: options, runs, results, side-by-side timing."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tinymodel import weights
from weightfiles import write_safetensors

# Options are made from the table when the commands are imported: a process of its own.
SCRIPT = """
import json, sys
from click.testing import CliRunner
from mlx_probe.compute.backends import BACKENDS, BackendKind
from mlx_probe.compute.backends.numpy.backend import NumpyBackend

class Abacus(NumpyBackend):
    name = "abacus"

BACKENDS["abacus"] = BackendKind("abacus", lambda device: Abacus(), ("cpu",), "beads", "Carve it")

from mlx_probe.cli import cli

def outcome(*arguments):
    result = CliRunner().invoke(cli, [*arguments])
    return [result.exit_code, result.output]

model, out = sys.argv[1:]
print(json.dumps({
    "help": outcome("analyze", "--help"),
    "run": outcome("analyze", model, "--backend", "abacus", "--out", out),
    "gpu": outcome("analyze", model, "--backend", "abacus", "--device", "gpu", "--out", out + "2"),
    "bench": outcome("bench", "--help"),
}))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("abacus")
    write_safetensors(folder / "model.safetensors", weights(np.random.default_rng(3)))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder / "model.safetensors", folder / "out"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout), folder / "out"


def test_it_is_a_choice(seen):
    for command in ("help", "bench"):
        code, text = seen[0][command]
        assert code == 0
        assert "abacus" in text


def test_it_computes_a_run(seen):
    code, text = seen[0]["run"]
    assert code == 0, text
    meta = json.loads((seen[1] / "run_meta.json").read_text())
    assert meta["backend"] == "abacus"
    assert meta["backend_reason"] == "abacus on cpu: as asked"


def test_a_device_that_it_lacks_is_refused_for_it(seen):
    code, text = seen[0]["gpu"]
    assert code == 1
    assert "the abacus backend runs on the CPU only" in text
    assert "Use --backend mlx, or drop --device gpu" in text

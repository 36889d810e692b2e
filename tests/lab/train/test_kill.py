"""kill -9 of the installed command; `benchmarks/resume.py` does it twenty times."""

import random
import subprocess
import time

import pytest
from tinymodel import COMMAND
from training import RECIPE, results_of

from mlx_probe.lab.settings import settings_to_yaml

pytestmark = pytest.mark.slow


def command(folder, tokens):
    recipe = folder.parent / "recipe.yaml"
    recipe.write_text(settings_to_yaml(RECIPE))
    words = ["train", "--config", recipe, "--data", tokens, "--out", folder, "--device", "cpu"]
    return [COMMAND, *words, "--quiet"]


@pytest.fixture(scope="module")
def by_command(tokens, tmp_path_factory):
    # Not the run in this process: BLAS has one thread here, and may have more there.
    folder = tmp_path_factory.mktemp("by_command") / "run"
    subprocess.run(command(folder, tokens), check=True)
    return results_of(folder)


@pytest.mark.parametrize("lines", [1, 6, 10])
def test_killed_command_goes_on_with_the_same_bits(tmp_path, tokens, by_command, lines):
    folder = tmp_path / "run"
    process = subprocess.Popen(command(folder, tokens))
    metrics = folder / "metrics.jsonl"
    # At some moment after so many steps.
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < lines:
        assert process.poll() is None
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.03))
    process.kill()
    process.wait()
    assert not (folder / "run_meta.json").exists()
    subprocess.run(command(folder, tokens), check=True)
    assert results_of(folder) == by_command

"""One function and one line is a metric everywhere: table, metadata, validation, docs, report."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tinymodel import weights
from weightfiles import write_safetensors

SCRIPT = """
import json, sys
from click.testing import CliRunner
from mlx_probe import metrics

def grains(m):
    '''Grains of sand.

    As many as finite elements.
    '''
    return m.moments.finite_count

metrics.METRICS += (metrics.Metric(grains, type="int64", level="basic", unit="grain", lower=0),)

from mlx_probe.cli import cli
from mlx_probe.report.columns import columns_page

model, out = sys.argv[1:]
for arguments in (
    ("plan", model, "--metrics", "basic"),
    ("analyze", model, "--metrics", "basic", "--format", "csv", "--out", out),
    ("validate", out),
    ("report", out),
):
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, (arguments, result.output)
print(columns_page())
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grains")
    write_safetensors(folder / "model.safetensors", weights(np.random.default_rng(4)))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder / "model.safetensors", folder / "out"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return folder / "out", done.stdout


def test_it_is_a_column_of_the_table(run):
    head, first, *_ = (run[0] / "params.csv").read_text().splitlines()
    assert head.endswith(',"grains"')
    assert first.rpartition(",")[2] == str(200 * 32)


def test_the_metadata_give_its_range(run):
    columns = json.loads((run[0] / "run_meta.json").read_text())["columns"]
    assert columns[-1] == {"name": "grains", "type": "int64", "lower": 0}


def test_it_is_in_the_docs_and_the_report(run):
    assert "| `grains` | `int64` | grain | at least 0 | basic | Grains of sand. |" in run[1]
    (page,) = run[0].glob("*.html")
    assert "Grains of sand." in page.read_text()

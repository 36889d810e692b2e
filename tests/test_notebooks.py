"""The notebooks run from top to end on a finished run, and are committed without outputs."""

import json
import os

import nbformat
import pytest
from nbclient import NotebookClient
from project import ROOT

FOLDER = ROOT / "notebooks"
NAMES = ("00_setup", "10_summary_stats", "20_per_layer", "30_embedding_output")

# What a reader must find: the text of some output.
SAYS = {
    "00_setup": ["validated: True", "spectra: 211"],
    "10_summary_stats": ["272 rows", "Share of reliable exponents", "gate_proj"],
    "20_per_layer": ["0 of 210 matrices are rank deficient", "tensors stand out"],
    "30_embedding_output": ["tied: there is no output matrix", "49152 vectors"],
}
FIGURES = {"00_setup": 0, "10_summary_stats": 7, "20_per_layer": 6, "30_embedding_output": 3}


def test_all_are_there():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_no_outputs_are_committed(name):
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name, smollm2, monkeypatch):
    monkeypatch.setitem(os.environ, "MLX_PROBE_RUN", str(smollm2))
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    said = " ".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for output in outputs
    )
    for text in SAYS[name]:
        assert text in said
    figures = [o for o in outputs if "application/vnd.plotly.v1+json" in o.get("data", {})]
    assert len(figures) == FIGURES[name]
    for figure in figures:
        assert any(
            trace.get("x") for trace in figure.data["application/vnd.plotly.v1+json"]["data"]
        )

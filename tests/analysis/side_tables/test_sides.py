"""One record in SIDES is a table everywhere: on disk, in the metadata, the reports and the docs."""

import io

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

import mlx_probe
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.side_tables import SIDES, Side, SidePart, sides_of_level
from mlx_probe.analysis.validate import validate_run
from mlx_probe.core.records import Column
from mlx_probe.report.columns import columns_page
from mlx_probe.report.html import report_html
from mlx_probe.report.html.payload import run_payload
from mlx_probe.report.run_data import load_run_data
from mlx_probe.report.terminal.profile import profile_text
from mlx_probe.runs.folder import DEFAULT_STEM
from mlx_probe.runs.monitor.samples import MONITOR
from mlx_probe.runs.spectra import SPECTRA
from mlx_probe.runs.table import WRITERS

LAYERS = 3


def residual_parts(plan, budget):
    return [residual_part(weight) for weight in plan.weights]


def residual_part(weight):
    def rows(workers):
        return [
            {
                "layer_index": weight.role.layer_index,
                "side": "inputs" if k else "outputs",
                "slot_index": k,
                "extent": float(weight.shape[k] + weight.role.layer_index),
            }
            for k in range(2)
        ]

    return SidePart(weight.name, 0, 0.0, rows, lambda reason: [])


RESIDUAL = Side(
    key="residual",
    title="Residual <stream>",
    about="two rows for each matrix, one for each side.",
    columns=(
        Column("layer_index", "int64", "identity", "Number of the block."),
        Column("side", "string", "identity", "Inputs or outputs."),
        Column("slot_index", "int64", "identity", "Number of the side."),
        Column("extent", "float64", "norms", "Width of the made-up stream."),
    ),
    parts=residual_parts,
    level="standard",
    shown=("layer_index", "extent"),
    map_rows="slot_index",
    group="side",
    profile=("extent",),
)


@pytest.fixture
def made_up(monkeypatch):
    monkeypatch.setitem(SIDES, RESIDUAL.key, RESIDUAL)


@pytest.fixture
def run(made_up, tmp_path):
    rng = np.random.default_rng(0)
    save_file(
        {
            f"model.layers.{i}.mlp.up_proj.weight": rng.standard_normal((5, 7)).astype(np.float32)
            for i in range(LAYERS)
        },
        tmp_path / "model.safetensors",
    )
    config = AnalyzeConfig(backend="numpy")
    return mlx_probe.analyze(
        tmp_path / "model.safetensors", out=tmp_path / "run", formats=tuple(WRITERS), config=config
    )


def test_it_is_written_described_and_read(run):
    assert {f"residual.{suffix}" for suffix in WRITERS} <= set(run.meta["outputs"])
    names = [column["name"] for column in run.meta["tables"]["residual"]["columns"]]
    assert names == ["layer_index", "side", "slot_index", "extent"]
    assert all(check.passed for check in validate_run(run.folder))
    table = mlx_probe.load_side_table(run.folder, "residual")
    assert table.extent.tolist() == [5.0, 7.0, 6.0, 8.0, 7.0, 9.0]
    assert table.layer_index.dtype == "Int64"


def test_it_is_in_the_html_report(run):
    data = load_run_data(run.folder)
    table = run_payload(data)["tables"]["residual"]
    assert table["rows"] == 2 * LAYERS
    assert table["shown"] == ["layer_index", "extent"]
    assert table["map"] == {"rows": "slot_index", "split": "side", "metrics": ["extent"]}
    described = {column["name"]: column["about"] for column in table["columns"]}
    assert described["extent"] == "Width of the made-up stream."
    page = report_html(data)
    assert '<section id="residual" class="card wide"><h2>Residual &lt;stream&gt;</h2>' in page
    assert '<a href="#residual">Residual &lt;stream&gt;</a>' in page


def test_it_is_in_the_terminal_report(run):
    file = io.StringIO()
    Console(file=file, width=80).print(
        profile_text(load_run_data(run.folder), ["std"], 80, "utf-8")
    )
    text = file.getvalue()
    assert "Residual <stream>: extent by layer" in text
    lines = text[text.index("Residual") :].splitlines()
    outputs = next(line for line in lines if line.lstrip().startswith("outputs"))
    assert outputs.split() == ["outputs", "▁▅█", "5", "6", "7"]


def test_it_is_in_the_docs(made_up):
    page = columns_page()
    assert "[residual](#residual)" in page
    assert "`--metrics standard`: two rows for each matrix, one for each side." in page
    assert "| `extent` | `float64` |  |  | Width of the made-up stream. |" in page


def test_its_level_decides_when_it_is_made(made_up):
    assert [side.key for side in sides_of_level("basic")] == []
    assert [side.key for side in sides_of_level("standard")] == ["residual"]
    assert [side.key for side in sides_of_level("full")] == ["heads", "experts", "residual"]


@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
def test_every_record_is_consistent(side):
    names = {column.name for column in side.columns}
    assert SIDES[side.key] is side
    assert side.key not in (DEFAULT_STEM, SPECTRA, MONITOR, "run_meta", "plan")
    assert len(names) == len(side.columns)
    assert {*side.shown, *side.profile} <= names
    assert {side.map_rows, side.group} - {None} <= names
    assert side.title
    assert side.about.endswith(".")

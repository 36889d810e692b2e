"""How runs look at a Python prompt and in a notebook, and that they stand for their paths."""

import shutil

import pytest
from models import arrays, edit_meta, tiny, whole  # noqa: F401  fixtures

import mlx_probe
from mlx_probe.report.run_data import load_run_data
from mlx_probe.runs.summary_lines import run_line, run_title

FINDINGS = [
    {"rule": f"r{n}", "severity": "high", "sentence": f"Layer {n} <is> broken.", "rows": []}
    for n in range(5)
]


@pytest.fixture
def run(whole, tmp_path):  # noqa: F811
    folder = shutil.copytree(whole.folder, tmp_path / "copied")

    def edit(meta):
        meta["findings"] = FINDINGS

    edit_meta(folder, edit)
    return mlx_probe.open_run(folder)


def test_a_run_prints_as_model_rows_checks_and_findings(run):
    lines = repr(run).splitlines()
    assert lines[0].startswith("<Run of tiny; rows: 17 (")
    assert lines[0].endswith(f"; backend: numpy on cpu; {run.folder}>")
    assert "checks: all " in lines[0]
    assert lines[1:4] == [f"  high: Layer {n} <is> broken." for n in range(3)]
    assert lines[4:] == ["  and 2 more findings"]


def test_a_notebook_shows_the_same(run):
    html = run._repr_html_()
    assert "Layer 0 &lt;is&gt; broken." in html
    assert str(run.folder) in html
    assert "Layer 3" not in html


def test_failed_checks_are_named(run):
    meta = {**run.meta, "validation": {"checks": [{"name": "ranges", "passed": False}]}}
    assert "checks: failed: ranges" in run_line(meta)


def test_what_an_older_run_lacks_is_left_out():
    assert run_line({"model": {"id": "m", "revision": "local"}}) == "m"
    assert run_line({}) == "?"


def test_a_comparison_names_both_models():
    side = {"id": "m", "revision": "abc"}
    assert run_title({"models": {"a": side, "b": {**side, "revision": "local"}}}) == (
        "m at abc against m"
    )


def test_what_a_report_reads_prints_its_tables(run):
    data = load_run_data(run)
    first = repr(data).splitlines()[0]
    assert first.startswith("<RunData of tiny; rows: 17 (")
    assert f"params {len(data.frame)}, spectra {len(data.spectra)}, heads " in first
    assert "Layer 0 &lt;is&gt; broken." in data._repr_html_()


def test_a_run_stands_for_its_path(run):
    assert mlx_probe.load_run(run).equals(mlx_probe.load_run(run.folder))
    assert mlx_probe.load_spectra(run).equals(mlx_probe.load_spectra(run.folder))
    assert mlx_probe.load_side_table(run, "experts") is not None
    assert mlx_probe.load_samples(run) is not None
    with mlx_probe.reopen(run) as checkpoint:
        assert checkpoint.weights()
    assert all(check.passed for check in mlx_probe.validate(run, recompute=False))


def test_a_forecast(model):
    forecast = mlx_probe.plan(model, memory_limit=1)
    assert repr(forecast).startswith("<Forecast of tiny; weights: 17; spectra: ")
    assert "fits: no" in repr(forecast)
    assert forecast.advice[0] in forecast._repr_html_() or "&" in forecast.advice[0]


def test_chinese(run, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_LANG", "zh")
    assert "检查" in repr(run)
    assert "另有 2 条发现" in run._repr_html_()

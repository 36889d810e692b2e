"""The page of a series: its sentences, its numbers, and what the slider does in a real browser."""

import json

import numpy as np
import pytest
from html_pages import Page
from series_of_checkpoints import DOWN, UP, checkpoints

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.series.config import SeriesConfig
from mlx_probe.analysis.series.series import measure_series
from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.language import VARIABLE
from mlx_probe.report.html.series_page import series_html
from mlx_probe.report.html.write import write_report
from mlx_probe.report.series_data import load_series
from mlx_probe.report.terminal.mixture import sentences_document


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    root = tmp_path_factory.mktemp("series")
    config = SeriesConfig(analysis=AnalyzeConfig(workers=1))
    checkpoints(root / "made", at=5)
    return measure_series([str(root / "made")], root / "out", config, publish=write_report).folder


@pytest.fixture(scope="module")
def page(series):
    return series / "report.html"


def test_what_the_page_says(series, page):
    parsed = Page(page.read_text("utf-8"))
    text = "".join(parsed.text)
    assert f"Step 500: rank of {UP} falls from 10 to 3." in text
    assert "8 checkpoints, steps 100 to 800" in text
    run = parsed.run
    assert run["snapshots"] == [100 * n for n in range(1, 9)]
    assert {(change["tensor"], change["step"]) for change in run["changes"]} == {(UP, 500)}
    assert run["spectra"]["kept"] == 16
    links = [attrs["href"] for tag, attrs in parsed.elements if tag == "a" and "href" in attrs]
    assert any("tensor.step=500" in link and "curve.metric=rank" in link for link in links)


def test_the_same_in_chinese(series, monkeypatch):
    monkeypatch.setenv(VARIABLE, "zh")
    text = "".join(Page(series_html(load_series(series))).text)
    assert f"第 500 步：{UP} 的 rank 从 10 降到 3。" in text


def test_sentences_for_programs(series):
    said = sentences_document(series)
    assert said["kind"] == "series"
    assert f"Step 500: rank of {UP} falls from 10 to 3." in said["sentences"]


def test_what_is_no_series(series, tmp_path):
    with pytest.raises(ResultError, match="is no series"):
        load_series(tmp_path)
    with pytest.raises(ConfigError, match="a page of its own"):
        write_report(series, tmp_path / "x.html", other=series)


@pytest.mark.slow
def test_slider_keys_and_links(opened):
    step = "document.getElementById('step-shown').textContent"
    curve, layers = (
        "document.getElementById('series-curve')",
        "document.getElementById('series-map')",
    )
    assert opened.value(step) == "step 800"
    dark = json.dumps(f"#at=curve&tensor={UP}&tensor.step=500&curve.metric=rank")
    opened.value(f"location.hash = {dark}")
    opened.wait(f"{step} === 'step 500'")
    assert opened.value(f"[...{curve}.data[1].y]") == [10, 10, 10, 10, 3, 3, 3, 3]
    assert opened.value(f"[...{curve}.data[2].x]") == [500]
    at_step = opened.value(f"{layers}.data[0].z")
    assert 3 in np.array(at_step, float)
    opened.value("document.activeElement.blur()")
    opened.press("ArrowLeft")
    opened.wait(f"{step} === 'step 400'")
    assert 3 not in np.array(opened.value(f"{layers}.data[0].z"), float)
    assert "tensor.step=400" in opened.value("location.hash")
    opened.value(f"{curve}.emit('plotly_click', {{points: [{{x: 700}}]}})")
    opened.wait(f"{step} === 'step 700'")
    opened.value("document.getElementById('next').click()")
    assert opened.value("document.getElementById('tensor').value") == UP
    opened.value(f"location.hash = {json.dumps(f'#tensor={DOWN}')}")
    opened.wait(f"document.getElementById('tensor').value === {json.dumps(DOWN)}")
    assert opened.value("document.getElementById('spectrum').data.length") > 0

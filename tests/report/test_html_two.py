"""Two runs in one page: paired rows, one colour scale, spectra in one plot."""

import time
import xml.etree.ElementTree as ET

import browser
import numpy as np
import pandas as pd
import pytest
from html_pages import HOSTILE_NAME, Page

from mlx_probe.core.errors import ConfigError
from mlx_probe.report.html import report_html
from mlx_probe.report.html.pairs import encode_pairs
from mlx_probe.report.run_data import RunData


@pytest.fixture(scope="session")
def other_run(hostile_run):
    """The same model with twice the weights, one tensor under another name, two left out."""
    frame = hostile_run.frame.iloc[:-2].copy()
    frame["std"] *= 2
    renamed = "model.layers.0.self_attn.q_proj.weight"
    frame["param_name"] = frame["param_name"].replace({renamed: "blk.0.attn_q.weight"})
    meta = {
        **hostile_run.meta,
        "model": {"id": HOSTILE_NAME},
        "configuration": {**hostile_run.meta["configuration"], "seed": 17},
    }
    names = hostile_run.spectra["param_name"].replace({renamed: "blk.0.attn_q.weight"})
    spectra = hostile_run.spectra.assign(param_name=names)
    return RunData(frame, hostile_run.columns, meta, {}, spectra)


def test_rows_are_paired_by_name_and_role(hostile_run, other_run):
    pairs = encode_pairs(hostile_run, other_run)
    rows = len(hostile_run.frame)
    assert pairs["a"] == list(range(rows))
    assert pairs["b"] == [*range(rows - 2), -1, -1]
    at = hostile_run.frame["param_name"].tolist().index("model.layers.0.self_attn.q_proj.weight")
    assert pairs["by"][at] == 1
    assert set(pairs["by"]) == {0, 1, -1}
    assert pairs["by"][-2:] == [-1, -1]


def test_rows_that_only_the_second_has_come_last(hostile_run, other_run):
    pairs = encode_pairs(other_run, hostile_run)
    rows = len(other_run.frame)
    assert pairs["a"][rows:] == [-1, -1]
    assert pairs["b"][rows:] == [rows, rows + 1]


def test_facts_and_settings_that_differ_are_marked(hostile_run, other_run):
    text = report_html(hostile_run, other_run)
    page = Page(text)
    assert len(page.scripts) == 3
    seed = text[text.index(">seed ") :]
    assert "differs" in seed[: seed.index("</tr>")]
    tolerance = text[text.index(">rank_tol<") :]
    assert "differs" not in tolerance[: tolerance.index("</tr>")]
    assert HOSTILE_NAME not in text


def test_the_plotting_library_is_in_it_once(hostile_run, other_run):
    one, two = report_html(hostile_run), report_html(hostile_run, other_run)
    assert len(two) - len(one) < 300_000


def test_runs_of_different_commands_are_refused(hostile_run):
    compared = RunData(pd.DataFrame({"param_name": ["a"]}), (), {"kind": "compare"})
    with pytest.raises(ConfigError, match="different commands"):
        report_html(hostile_run, compared)


VIEW = """(() => ({
    choices: [...document.querySelectorAll("select, #tensor, th input")].map((one) => one.value),
    drawn: [...document.querySelectorAll(".plot")].map((plot) => JSON.stringify(
        (plot.data ?? []).map(({ type, name, x, y, z }) => [type, name, x, y, z]))),
    rows: [...document.querySelectorAll("tbody")].map((body) => body.textContent),
}))()"""


@pytest.mark.slow
@pytest.mark.skipif(browser.PATH is None, reason="no Chromium on the PATH")
def test_the_page_of_two(opened, hostile_run, other_run, tmp_path):
    path = tmp_path / "two.html"
    path.write_text(report_html(hostile_run, other_run), "utf-8")
    address = (
        "#maps.metric=std&tensor=model.layers.0.self_attn.q_proj.weight&outliers.run=B"
        "&table.columns=tensor%2Cmatched_by%2Cstd%2520A%2Cstd%2520B%2Cstd%2520B-A"
        "&table.sort=-std+B-A"
    )
    opened.open(path, address=address)
    assert opened.value("document.getElementById('address-note').textContent") == ""
    # One colour means one number in both maps.
    maps = "[...document.querySelectorAll('#maps .plot')].map((plot) => plot.data[0])"
    scales = opened.value(f"{maps}.map(({{ zmin, zmax }}) => [zmin, zmax])")
    assert len(scales) == 2
    assert scales[0] == scales[1]
    seen = opened.value(f"{maps}.map(({{ z }}) => z.flat().filter((value) => value !== null))")
    assert scales[0] == [min(map(min, seen)), max(map(max, seen))]
    # Both spectra of the pair, which the names alone do not make.
    traces = opened.value("document.getElementById('spectrum').data.map((trace) => trace.name)")
    assert {"A: singular values", "B: singular values"} <= set(traces)
    facts = opened.value("document.getElementById('tensor-facts').textContent")
    assert "B: blk.0.attn_q.weight" in facts
    # The rows, and what differs.
    cells = opened.value(
        "[...document.querySelectorAll('#table tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    a, b = hostile_run.frame["std"].to_numpy(float), other_run.frame["std"].to_numpy(float)
    changes = np.sort((b - a[: len(b)])[np.isfinite(b)])[::-1]
    shown = [float(row[4]) for row in cells if row[4]]
    np.testing.assert_allclose(shown, changes, rtol=1e-3)
    assert opened.value("document.querySelectorAll('#outlier-list select')[0].value") == "B"
    assert opened.value("document.documentElement.scrollWidth <= innerWidth")
    # Both maps are saved as one picture.
    opened.downloads(tmp_path)
    opened.value("document.querySelector('#maps .save button').click()")
    deadline = time.monotonic() + browser.TIMEOUT
    while not (saved := [p for p in tmp_path.glob("*.svg") if p.stat().st_size]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    root = ET.parse(saved[0]).getroot()
    inner = [one for one in root if one.tag.endswith("svg")]
    assert [float(one.get("x")) for one in inner] == [0.0, float(inner[0].get("width"))]
    assert f"B: {HOSTILE_NAME}" in "".join(inner[1].itertext())
    assert not [one for one in root.iter() if one.tag.endswith(("script", "foreignObject"))]
    view, written = opened.value(VIEW), opened.value("location.hash")
    opened.value("document.querySelector('#siblings').click()")
    opened.value("history.back()")
    opened.wait(f"location.hash === {written!r}")
    assert opened.value(VIEW) == view


@pytest.mark.slow
@pytest.mark.skipif(browser.PATH is None, reason="no Chromium on the PATH")
def test_two_comparisons_and_an_empty_run(opened, make, hostile_run, tmp_path):
    def compared(name, changes):
        meta = {"kind": "compare", "models": {"a": {"id": "base"}, "b": {"id": name}}}
        return make(meta, other_name=["x", "y"], relative_change=changes, status=["ok", "ok"])

    empty = RunData(hostile_run.frame.iloc[:0], hostile_run.columns, {"model": {"id": "none"}})
    path = tmp_path / "two.html"
    for runs in (
        (compared("one", [0.1, 0.2]), compared("two", [0.3, 0.1])),
        (empty, hostile_run),
        (empty, empty),
    ):
        path.write_text(report_html(*runs), "utf-8")
        opened.open(path)
        rows = opened.value("document.querySelectorAll('#table tbody tr').length")
        assert rows == max(len(run.frame) for run in runs)

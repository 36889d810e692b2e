"""The page in a real browser, where there is one: it draws, answers, and complains of nothing."""

import browser
import numpy as np
import pandas as pd
import pytest
from html_pages import HOSTILE_NAME

from mlx_probe.report.html import report_html
from mlx_probe.report.run_data import RunData

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="no Chromium on the PATH"),
]

METRIC = "document.querySelector('#maps select')"
MAP = "document.querySelector('#maps .plot')"


def test_all_panels_are_drawn(opened):
    for plot in ("#maps .plot", "#spectrum", "#quantization .plot", "#heads .plot"):
        assert opened.value(f"document.querySelector('{plot}').data.length") > 0, plot
        assert opened.value(f"document.querySelector('{plot} svg').clientHeight") > 100, plot
    assert opened.value("document.querySelectorAll('#table tbody tr').length") > 10
    assert opened.value("document.querySelectorAll('#heads tbody tr').length") == 4


def test_a_hostile_name_is_text(opened):
    assert opened.value("document.images.length") == 0
    assert opened.value("document.scripts.length") == 3
    assert HOSTILE_NAME in opened.value("document.querySelector('#table tbody').textContent")
    ticks = opened.value("document.querySelector('#maps .plot .yaxislayer-above').textContent")
    assert HOSTILE_NAME[:39] in ticks


def test_the_metric_chooser_changes_the_map(opened):
    first = opened.value("document.querySelector('#maps select').value")
    before = opened.value(f"JSON.stringify({MAP}.data[0].z)")
    opened.value("document.querySelector('#maps select').focus()")
    opened.press("ArrowDown")
    opened.wait(f"JSON.stringify({MAP}.data[0].z) !== {before!r}")
    assert opened.value("document.querySelector('#maps select').value") != first


def test_every_metric_can_be_drawn(opened, page):
    names = opened.value(f"[...{METRIC}.options].map((option) => option.value)")
    assert len(names) > 20
    # A view's metrics one after the other: each choice draws the map anew.
    views = ("deviation", "lines", "map")
    chosen = [(view, names[at :: len(views)]) for at, view in enumerate(views)]
    for number, value in [
        pair for view, of in chosen for pair in [(1, view), *((0, n) for n in of)]
    ]:
        opened.value(
            f"(() => {{ const one = document.querySelectorAll('#maps select')[{number}];"
            f"one.value = {value!r}; one.dispatchEvent(new Event('change')); }})()"
        )
        values = f"{MAP}.data.flatMap((trace) => (trace.z ?? [trace.y]).flat())"
        assert opened.value(f"{values}.some((value) => value !== null)"), value
    # Whoever comes next finds the first map again.
    opened.open(page)


def test_a_click_on_the_map_picks_its_tensor(opened):
    x, y, name = opened.value(
        f"""(() => {{
            const plot = {MAP};
            plot.scrollIntoView({{block: "center"}});
            const group = plot.data[0].z.findIndex((row) => Number.isFinite(row[0]));
            const box = plot.getBoundingClientRect(), {{ xaxis, yaxis }} = plot._fullLayout;
            return [
                box.left + xaxis._offset + xaxis.l2p(0), box.top + yaxis._offset + yaxis.l2p(group),
                plot.data[0].text[group][0].split("<br>").pop(),
            ];
        }})()"""
    )
    opened.click_at(x, y)
    opened.wait(f"document.getElementById('tensor').value === {name!r}")
    assert name in opened.value("document.getElementById('tensor-facts').textContent")


def test_a_tensor_is_picked_by_name(opened, data):
    last = data.spectra.iloc[-1]
    sigma = np.asarray(last["singular_values"])
    opened.value("document.getElementById('tensor').select()")
    opened.type(last["param_name"])
    opened.wait(f"document.getElementById('spectrum').data.at(-1).y.length === {len(sigma)}")
    drawn = opened.value("[...document.getElementById('spectrum').data.at(-1).y]")
    assert drawn == pytest.approx(list(sigma), rel=1e-6, abs=1e-12)


def test_a_row_of_the_table_and_an_outlier_pick_a_tensor(opened):
    name = opened.value("document.querySelector('#table tbody tr:nth-child(3) button').textContent")
    opened.click("#table tbody tr:nth-child(3) button")
    opened.wait(f"document.getElementById('tensor').value.startsWith({name!r})")
    name = opened.value("document.querySelector('#outlier-list tbody button').textContent")
    opened.click("#outlier-list tbody button")
    opened.wait(f"document.getElementById('tensor').value === {name!r}")


def column_of(opened, name):
    """What the table shows in a column."""
    return opened.value(
        f"""(() => {{
            const heads = [...document.querySelectorAll("#table thead th button")];
            const at = heads.findIndex((head) => head.dataset.column === {name!r});
            const rows = [...document.querySelectorAll("#table tbody tr")];
            return rows.map((row) => row.cells[at].textContent);
        }})()"""
    )


def test_the_table_sorts_and_filters(opened, data):
    std = data.frame["std"]
    opened.value("document.querySelector('#table thead button[data-column=std]').click()")
    shown = [float(text) for text in column_of(opened, "std") if text]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == std.notna().sum()
    opened.value("document.querySelector('#table th input[data-column=std]').focus()")
    opened.type(">0.9")
    assert len(column_of(opened, "std")) == (std > 0.9).sum()
    opened.value("document.querySelector('#table th input[data-column=param_name]').focus()")
    opened.type("PROJ")
    wanted = (std > 0.9) & data.frame["param_name"].str.contains("proj")
    assert len(column_of(opened, "std")) == wanted.sum() > 0


def test_a_very_large_table_shows_the_same(opened, page, hostile_run, tmp_path, monkeypatch):
    """As if it had so many rows that its floats are rounded and its names are templates."""
    names = [name for name in ("param_name", "shape", "std", "rank") if name in hostile_run.frame]
    opened.open(page)
    before = {name: column_of(opened, name) for name in names}
    monkeypatch.setattr("mlx_probe.report.html.encoding._SINGLE_CELLS", 1)
    monkeypatch.setattr("mlx_probe.report.html.compact._MANY_TEXTS", 1)
    monkeypatch.setattr("mlx_probe.report.html.encoding.encode_few", lambda values: None)
    other = tmp_path / "large.html"
    other.write_text(report_html(hostile_run), "utf-8")
    assert '"rounded":' in other.read_text("utf-8")
    opened.open(other)
    after = {name: column_of(opened, name) for name in names}
    stds = [[float(text or "nan") for text in of.pop("std")] for of in (before, after)]
    np.testing.assert_allclose(stds[1], stds[0], rtol=1e-3)
    assert after == before
    opened.open(page)


def test_columns_are_chosen(opened):
    opened.value("document.querySelector('#table .choices input[data-column=rms]').click()")
    assert [text for text in column_of(opened, "rms") if text]


def test_light_and_dark(opened, page):
    paper = "getComputedStyle(document.body).backgroundColor"
    plot = "document.getElementById('spectrum').layout.plot_bgcolor"
    opened.open(page)
    light = opened.value(paper), opened.value(plot)
    opened.open(page, dark=True)
    dark = opened.value(paper), opened.value(plot)
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    opened.click("#theme")
    assert (opened.value(paper), opened.value(plot)) == light
    opened.click("#theme")
    assert (opened.value(paper), opened.value(plot)) == dark


def other_runs(make, data):
    """Runs that lack something, by what they lack."""
    frame, columns, meta = data.frame, data.columns, data.meta
    old = ["param_name", "layer_index", "block_type", "shape", "rank", "std"]
    known = tuple(column for column in columns if column.name in old)
    compared = make(
        {"kind": "compare", "models": {"a": {"id": "base"}, "b": {"id": "tuned"}}},
        param_name=["layers.0.w", None, "layers.2.w"],
        other_name=["layers.0.w", "layers.1.w", "layers.2.w"],
        status=["ok", "only_b", "ok"],
        relative_change=[0.1, np.nan, 0.5],
        cosine=[0.9, np.nan, 0.99],
    )
    return {
        "spectra": RunData(frame, columns, meta),
        "newer columns": RunData(frame[old], known, {"model": {"id": "old"}}),
        "rows": RunData(frame.iloc[:0], columns, meta),
        "layers": RunData(
            frame.assign(layer_index=pd.array([None] * len(frame), "Int64")), columns, {}
        ),
        "one model": compared,
    }


@pytest.mark.parametrize("lack", ["spectra", "newer columns", "rows", "layers", "one model"])
def test_runs_that_lack_something(opened, make, data, tmp_path, lack):
    path = tmp_path / "report.html"
    path.write_text(report_html(other_runs(make, data)[lack]), "utf-8")
    opened.open(path)
    assert opened.value("document.querySelectorAll('#table thead th').length") > 2
    if lack == "spectra":
        assert "--save-spectra" in opened.value("document.getElementById('spectra').textContent")
    if lack == "one model":
        assert opened.value("document.getElementById('tensor').value") == "layers.2.w"
        assert "layers.1.w" in opened.value("document.getElementById('outlier-list').textContent")
        assert opened.value(f"{MAP}.data[0].z[0][2]") == 0.5

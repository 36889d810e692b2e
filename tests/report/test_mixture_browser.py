"""The pages of mixtures, signals and grafts in a real browser, where there is one."""

import csv
import io
import json
import time
from pathlib import Path

import axe_core_python
import browser
import numpy as np
import pytest
from mixture_runs import RECEIPT, make_signals, make_stats
from pyarrow import parquet
from safetensors.numpy import load_file

from mlx_probe.report.html.write import write_report

AXE = Path(axe_core_python.__path__[0]) / "axe.min.js"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stats(tmp_path_factory):
    return make_stats(tmp_path_factory.mktemp("mixture") / "stats")


@pytest.fixture(scope="module")
def signals(tmp_path_factory):
    return make_signals(tmp_path_factory.mktemp("signals") / "run")


@pytest.fixture(scope="module")
def page(stats):
    return write_report(stats)


@pytest.fixture(scope="module")
def signals_page(signals):
    return write_report(signals)


@pytest.fixture(scope="module")
def graft_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graft")
    (folder / "graft_receipt.json").write_text(json.dumps(RECEIPT))
    return write_report(folder)


def choose(opened, selector, value):
    opened.value(
        f"(() => {{ const s = document.querySelector({json.dumps(selector)}); s.value = "
        f"{json.dumps(value)}; s.dispatchEvent(new Event('change')); }})()"
    )


def saved(opened, folder, section):
    opened.downloads(folder)
    opened.value(
        f"[...document.querySelectorAll('{section} .save button')]"
        ".find((button) => button.textContent === 'CSV').click()"
    )
    deadline = time.monotonic() + browser.TIMEOUT
    while not (found := list(folder.glob("*.csv"))) or not found[0].stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    text = found[0].read_text("utf-8")
    found[0].unlink()
    return list(csv.DictReader(io.StringIO(text)))


def refuse_barred(opened):
    """Nothing hangs over, and nothing bars a reader, on a phone and on a dark desk."""
    # What other pages have as well is looked at in theirs.
    opened.value("document.querySelectorAll('div.grid').forEach((one) => one.remove())")
    opened.value(f"{AXE.read_text('utf-8')};0")
    for width, dark in ((390, False), (1440, True)):
        opened.resize(width, 1000)
        opened.shade(dark)
        opened.value("new Promise((done) => setTimeout(done, 150))")
        assert opened.value("document.documentElement.scrollWidth") <= width
        rules = ", runOnly: ['color-contrast']" if dark else ""
        found = opened.value(
            f"axe.run(document, {{ resultTypes: ['violations']{rules} }}).then((result) =>"
            "result.violations.map((one) => [one.impact, one.id, one.nodes[0].html]))"
        )
        assert [one for one in found if one[0] in ("serious", "critical")] == [], (width, dark)


def test_maps_and_matrices_are_those_of_the_files(opened, page, stats, tmp_path):
    opened.open(page, address="#layer=1&layer.expert=5")
    table = parquet.read_table(stats / "experts.parquet")
    load = table["load"].to_numpy().reshape(3, 8).T
    plot = "document.querySelector('#maps .plot')"
    assert np.array(opened.value(f"{plot}.data[0].z")) == pytest.approx(load, rel=1e-6)
    hover = opened.value(f"{plot}.data[0].text[5][1]")
    assert "expert 5" in hover
    assert "layer 1" in hover
    assert "Liked tokens:  to | &lt;b&gt;5" in hover
    # The expert without tokens has no saliency: its place is hatched.
    choose(opened, "#maps select", "saliency")
    assert opened.value(f"{plot}.data[0].z[3][0]") is None
    assert "hatched: no number" in opened.value(f"{plot}.layout.annotations[0].text")
    choose(opened, "#maps select", "load")
    opened.value("document.querySelector('#maps input[type=checkbox]').click()")
    assert opened.value(f"{plot}.data[0].z[3][0]") is None
    assert "no number, or 0" in opened.value(f"{plot}.layout.annotations[0].text")
    choose(opened, "#maps select", "saliency")
    rows = saved(opened, tmp_path, "#maps")
    assert len(rows) == 23
    arrays = load_file(stats / "maps.safetensors")
    for view, name in (("coactivation", "coactivation"), ("similarity", "similarity")):
        choose(opened, "#layer select[aria-label=View]", view)
        rows = saved(opened, tmp_path, "#layer")
        found = np.array([float(row[name]) for row in rows]).reshape(8, 8)
        assert found.astype("f4") == pytest.approx(arrays[name][1], rel=0, abs=0)
    choose(opened, "#layer select[aria-label=View]", "lift")
    together = arrays["coactivation"][1].astype(float)
    alone = np.diag(together)
    lift = 60 * together / np.outer(alone, alone)
    drawn = opened.value("document.querySelector('#layer .plot').data[0].z")
    assert drawn[2][0] == pytest.approx(lift[2, 0])
    assert drawn[2][2] is None
    choose(opened, "#layer select[aria-label=View]", "graph")
    nodes = opened.value("[...document.querySelector('#layer .plot').data.at(-1).marker.size]")
    assert np.argmax(nodes) == np.argmax(alone)
    choose(opened, "#layer select[aria-label=View]", "load_by_type")
    assert opened.value("document.querySelector('#layer .plot').data[0].x")[1] == "number"
    choose(opened, "#layers select", "load_entropy")
    assert len(opened.value("[...document.querySelector('#layers .plot').data[0].y]")) == 3


def test_a_click_on_an_expert_marks_its_tokens(opened, page, stats, tmp_path):
    opened.open(page, address="#layer=2")
    rows = [
        row
        for row in parquet.read_table(stats / "routing.parquet").to_pylist()
        if row["layer"] == 2
    ]
    marked = (
        "[...document.querySelectorAll('.token.marked')].map((one) => Number(one.dataset.token))"
    )
    assert opened.value(marked) == []
    opened.value("[...document.querySelectorAll('.chips button')][1].click()")
    expert = int(
        opened.value("document.querySelector('.chips [aria-pressed=true]').textContent").split(":")[
            0
        ]
    )
    assert opened.value(marked) == [row["token"] for row in rows if expert in row["experts"]]
    assert f"layer.expert={expert}" in opened.value("location.hash")
    # Tab leads to one token, arrows to the next, and its tooltip has all layers.
    opened.value("document.querySelector('.token').focus()")
    opened.press("ArrowDown")
    assert opened.value("document.activeElement.dataset.token") == "10"
    opened.wait("!document.getElementById('tip').hidden")
    tip = opened.value("document.getElementById('tip').textContent")
    assert all(f"layer {layer}" in tip for layer in range(3))
    assert tip.index("layer 2") < tip.index("layer 0")
    for view in ("entropy", "expert", "first"):
        choose(opened, "#routing select[aria-label=Colour]", view)
        shades = opened.value(
            "[...document.querySelectorAll('.token')].map((one) => one.style.background)"
        )
        assert len(set(shades)) > 2
    found = [
        (int(r["token"]), int(r["expert"]), float(r["weight"]))
        for r in saved(opened, tmp_path, "#routing")
    ]
    wanted = [
        (r["token"], e, w) for r in rows for e, w in zip(r["experts"], r["weights"], strict=True)
    ]
    assert found == [pytest.approx(one, rel=1e-6) for one in wanted]
    refuse_barred(opened)


def test_the_map_of_blocks_plays_token_by_token(opened, signals_page, signals, tmp_path):
    opened.open(signals_page)
    arrays = load_file(signals / "sps.safetensors")
    plot = "document.querySelector('#sps .plot')"
    assert np.array(opened.value(f"{plot}.data[0].z")) == pytest.approx(arrays["sps"], rel=1e-6)
    play = "document.querySelectorAll('#sps .controls > button')[2]"
    # The browser of the tests asks for less motion.
    assert opened.value(f"{play}.disabled")
    opened.click("#sps [aria-label='Next token']")
    opened.click("#sps [aria-label='Next token']")
    assert np.array(opened.value(f"{plot}.data[0].z")) == pytest.approx(
        arrays["sps_tokens"][1], rel=1e-6
    )
    assert opened.value("document.querySelector('.token[aria-current]').dataset.token") == "1"
    opened.value("document.querySelector('.token[aria-current]').focus()")
    opened.press("ArrowDown")
    assert "sps.token=11" in opened.value("location.hash")
    rows = saved(opened, tmp_path, "#sps")
    assert (
        np.array([float(row["sps"]) for row in rows], "f4").tolist()
        == arrays["sps_tokens"][11].ravel().tolist()
    )
    opened.call(
        "Emulation.setEmulatedMedia",
        features=[{"name": "prefers-reduced-motion", "value": "no-preference"}],
    )
    opened.wait(f"!{play}.disabled")
    opened.value(f"{play}.click()")
    opened.wait("Number(document.querySelector('#sps input').value) >= 12")
    opened.value(f"{play}.click()")
    assert opened.value(f"{play}.textContent") == "Play"
    refuse_barred(opened)


def test_the_damage_curve_stands_beside_the_dense_model(opened, graft_page, tmp_path):
    opened.open(graft_page)
    plot = "document.querySelector('#damage .plot')"
    assert opened.value(f"[...{plot}.data[0].y]") == [3.19, 3.19]
    losses = [row["loss"] for row in reversed(RECEIPT["damage"])]
    assert opened.value(f"[...{plot}.data[1].y]") == losses
    assert [float(row["loss"]) for row in saved(opened, tmp_path, "#damage")] == losses

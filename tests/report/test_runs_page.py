"""The page of several runs: what is in it, and in a real browser, where there is one."""

import json
import re
from pathlib import Path

import axe_core_python
import pytest
from made_runs import CONFIGURATION, layers, store
from models import invoke

from mlx_probe.analysis.compare_runs import ALL, BY, compare_runs
from mlx_probe.core.language import VARIABLE
from mlx_probe.report.html.runs_page import runs_html

AXE = Path(axe_core_python.__path__[0]) / "axe.min.js"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
SHARE = {"effective_rank_share": 0.5}
PLOT = "document.querySelector('#profiles .plot')"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    other = {**CONFIGURATION, "rank_tol": 1e-4}
    runs = [
        store(
            folder / "a",
            layers(4, seed=1, rank=6),
            "owner/a",
            summary={"parameters": 4321, **SHARE},
        ),
        store(folder / "b", layers(9, seed=2, rank=5), "owner/b", configuration=other),
        store(folder / "c", layers(2, seed=3, rank=4), HOSTILE),
        folder / "gone",
    ]
    return compare_runs(runs, metrics=["std", "stable_rank", ALL], sort="std", by=BY, bins=4)


@pytest.fixture(scope="module")
def page(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "runs.html"
    path.write_text(runs_html(table), "utf-8")
    return path


def test_everything_is_in_the_page(page, table):
    text = page.read_text("utf-8")
    assert "default-src 'none'" in text
    assert "<script>alert" not in text.replace("<script>(", "")
    payload = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert payload["run_names"] == [run.label for run in table.readable]
    (described,) = [
        c for c in payload["runs"][0]["tables"]["params"]["columns"] if c["name"] == "rank"
    ]
    assert described["title"].endswith(" *")
    kinds = {c["name"]: c["kind"] for c in payload["runs"][0]["tables"]["params"]["columns"]}
    assert (kinds["parameters"], kinds["std"]) == ("int", "float")
    titles = {c["name"]: c["title"] for c in payload["runs"][0]["tables"]["params"]["columns"]}
    assert titles["parameters"] == "Parameters"
    assert titles["effective_rank_share"].startswith("Mean effective rank / short side")
    assert [name for name, title in titles.items() if title.removesuffix(" *") == name] == []
    assert "Ranks count singular values above different thresholds." in text
    assert "gone does not exist" in text


@pytest.mark.parametrize(("language", "words"), [("en", "All runs"), ("zh", "全部运行")])
def test_it_is_in_the_reader_s_language(table, monkeypatch, language, words):
    monkeypatch.setenv(VARIABLE, language)
    text = runs_html(table)
    assert f"<h2>{words}</h2>" in text
    assert "[[" not in text[: text.index("<script")]


def test_the_command_writes_it(table, tmp_path):
    out = tmp_path / "new" / "runs.html"
    paths = [run.path for run in table.readable]
    result = invoke("compare-runs", *paths, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"{out} (" in result.stdout
    assert out.read_text("utf-8").startswith("<!doctype html>")
    assert invoke("compare-runs", *paths, "--out", tmp_path / "x.txt").exit_code == 2


def choose(opened, at, value):
    opened.value(
        f"(() => {{ const s = document.querySelectorAll('#profiles select')[{at}]; s.value = "
        f"{json.dumps(value)}; s.dispatchEvent(new Event('change')); }})()"
    )


def drawn(opened):
    """The lines of the plot: name to numbers."""
    lines = opened.value(
        f"{PLOT}.data.map((trace) => [trace.text[0].split('<br>')[0], [...trace.y]])"
    )
    return dict(lines)


@pytest.mark.slow
def test_a_line_for_each_run_with_the_table_s_numbers(opened, table):
    assert opened.value("document.images.length") == 0
    choose(opened, 0, "stable_rank")
    choose(opened, 1, "component:attention")
    (group,) = [group for group in table.groups if group.name == "attention"]
    lines = list(drawn(opened).values())
    for run, line in zip(table.readable, lines, strict=True):
        expected = run.profiles["stable_rank"][group]
        assert [v is None for v in line] == [v is None for v in expected]
        assert [v for v in line if v is not None] == pytest.approx(
            [v for v in expected if v is not None], rel=1e-6
        )
    choose(opened, 2, "1")
    assert set(list(drawn(opened).values())[1]) <= {1, None}


@pytest.mark.slow
def test_the_address_brings_the_view_back(opened, page):
    choose(opened, 0, "stable_rank")
    choose(opened, 1, "block_type:k_proj")
    choose(opened, 2, "0")
    seen, address = drawn(opened), opened.value("location.hash")
    opened.open(page)
    assert drawn(opened) != seen
    opened.value(f"location.hash = {address!r}")
    opened.wait("document.querySelectorAll('#profiles select')[2].value === '0'")
    assert drawn(opened) == seen
    opened.value("location.hash = '#profiles.metric=none'")
    opened.wait("document.getElementById('address-note').textContent.includes('metric=none')")


@pytest.mark.slow
def test_every_metric_can_be_drawn_in_every_group(opened):
    metrics = opened.value(
        "[...document.querySelectorAll('#profiles select')[0].options].map((o) => o.value)"
    )
    assert {"std", "stable_rank", "rank"} <= set(metrics)
    for metric in metrics:
        choose(opened, 0, metric)
        for group in opened.value(
            "[...document.querySelectorAll('#profiles select')[1].options].map((o) => o.value)"
        ):
            choose(opened, 1, group)
            assert drawn(opened), (metric, group)


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_hangs_over_the_edge(opened, page, width):
    opened.open(page, width=width)
    assert opened.value("document.documentElement.scrollWidth") <= width
    opened.value(f"{AXE.read_text('utf-8')};0")
    found = opened.value(
        "axe.run(document, { resultTypes: ['violations'] }).then((result) =>"
        "result.violations.map((one) => [one.impact, one.id, one.nodes[0].html]))"
    )
    assert [one for one in found if one[0] in ("serious", "critical")] == []
    assert opened.value("document.querySelectorAll('#table tbody tr').length") == 3
    opened.value("document.querySelector('#table thead button[data-column=std]').click()")
    column = (
        "[...document.querySelectorAll('#table tbody tr')].map((row) => row.cells[0].textContent)"
    )
    assert len(opened.value(column)) == 3

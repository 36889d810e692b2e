"""The pages of runs and of their lineage: what is in them, and in a real browser."""

import pytest
from experiment_runs import analysis, training
from html_pages import HOSTILE_NAME, Page, numbers
from stores_on_disk import empty_home

from mlx_probe.library.catalog import open_database
from mlx_probe.library.experiments import load_runs, scan_experiments
from mlx_probe.library.experiments.comparing import compare_runs_of
from mlx_probe.library.experiments.lineage import build_lineage
from mlx_probe.report.html.experiments_page import experiments_html
from mlx_probe.report.html.lineage_page import MOST_NODES, lineage_html


@pytest.fixture
def runs(monkeypatch, tmp_path):
    home = empty_home(monkeypatch, tmp_path / "home")
    root = tmp_path / "runs"
    for number in range(30):
        name = f"run-{number:02}" if number else HOSTILE_NAME.replace("/", "|")
        training(root / name, loss=3 - number / 40, lr=0.001 * (number + 1), steps=4 + 3 * number)
    analysis(root / "plain", day=9)
    with open_database(home / "catalog.sqlite") as database:
        scan_experiments(database, [root])
        return sorted(load_runs(database), key=lambda run: run.name)


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_what_a_page_of_runs_holds(runs, count):
    chosen = [run for run in runs if run.kind == "train"][:count]
    page = Page(experiments_html(compare_runs_of(chosen)))
    entries = page.data["runs"]
    assert len(entries) == max(count, 1)
    table = entries[0]["tables"]["runs"]
    assert table["rows"] == count
    for entry, run in zip(entries, chosen, strict=False):
        curves = entry["curves"]
        assert numbers(curves["evaluations"]["val_loss"])[-1] == run.metrics["val_loss"]
        assert numbers(curves["steps"]["step"])[-1] == run.config["train.steps"]
    names = [column["name"] for column in table["columns"]]
    assert ("config.train.lr" in names) is (count > 1)
    assert not [attrs for tag, attrs in page.elements if tag == "script" and "src" in attrs]


def test_runs_without_curves(runs):
    page = Page(experiments_html(compare_runs_of([run for run in runs if run.kind != "train"])))
    assert "curves" not in page.run
    assert ("section", {"id": "curves", "class": "card wide"}) not in page.elements


def test_a_curve_that_cannot_be_read_is_said(runs):
    (runs[0].folder / "metrics.jsonl").write_text('{"step": "x"}\n[]\n')
    text = experiments_html(compare_runs_of(runs[:2]))
    assert len(Page(text).data["runs"]) == 1


def test_the_page_of_lineage(runs):
    page = Page(lineage_html(build_lineage(runs), (), ""))
    assert page.scripts == []
    assert sum(tag == "rect" for tag, _ in page.elements) == 2 * 30 + 1 + 2
    empty = Page(lineage_html(build_lineage([]), (), ""))
    assert any("Nothing is known" in text for text in empty.text)


def test_a_graph_that_is_too_large_is_not_drawn(runs, monkeypatch):
    monkeypatch.setattr("mlx_probe.report.html.lineage_page.MOST_NODES", 5)
    page = Page(lineage_html(build_lineage(runs), (), ""))
    assert not any(tag == "rect" for tag, _ in page.elements)
    assert MOST_NODES > 5


@pytest.mark.slow
def test_in_a_browser(runs, chromium, tmp_path):
    chromium.user = None
    chromium.messages.clear()
    pages = {
        "plain": experiments_html(compare_runs_of(runs[-1:])),
        "many": experiments_html(compare_runs_of(runs)),
    }
    for name, text in pages.items():
        path = tmp_path / f"{name}.html"
        path.write_text(text, "utf-8")
        chromium.open(path, 390)
        assert chromium.value("document.documentElement.scrollWidth - innerWidth") <= 0, name
    drawn = chromium.value(
        "document.querySelector('#curve-loss').data.filter((t) => t.showlegend)"
        ".map((t) => t.x.length)"
    )
    # Curves of different lengths, each with all its evaluations.
    assert sorted(drawn) == [5 + 3 * number for number in range(30)]
    assert chromium.value("document.querySelectorAll('#table tbody tr').length") == 31
    assert chromium.messages == []

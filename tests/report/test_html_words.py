"""The page's own texts in every language, and its language for the browser."""

from importlib.resources import files

import pytest

from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.compare.columns import COLUMNS
from mlx_probe.analysis.families import family_title
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.core.language import LANGUAGES, VARIABLE, catalog
from mlx_probe.metrics import METRICS
from mlx_probe.report.html import report_html
from mlx_probe.report.html.experiments_page import SCRIPTS as EXPERIMENTS_SCRIPTS
from mlx_probe.report.html.graft_page import SCRIPTS as GRAFT_SCRIPTS
from mlx_probe.report.html.markup import LANGUAGE_TAGS, marked_texts, script_texts
from mlx_probe.report.html.mixture_page import SCRIPTS as MIXTURE_SCRIPTS
from mlx_probe.report.html.page import SCRIPTS
from mlx_probe.report.html.runs_page import SCRIPTS as RUNS_SCRIPTS
from mlx_probe.report.html.series_page import SCRIPTS as SERIES_SCRIPTS
from mlx_probe.report.html.signals_page import SCRIPTS as SIGNALS_SCRIPTS
from mlx_probe.report.html.training_page import SCRIPTS as TRAINING_SCRIPTS

FOLDER = files("mlx_probe.report.html")
PARTS = sorted(path.name for path in FOLDER.iterdir() if path.name.endswith((".js", ".html")))


@pytest.mark.parametrize("language", LANGUAGES[1:])
@pytest.mark.parametrize("name", PARTS)
def test_every_text_has_its_translation(name, language):
    text = FOLDER.joinpath(name).read_text("utf-8")
    wanted = script_texts(text) if name.endswith(".js") else marked_texts(text)
    assert [one for one in wanted if one not in catalog(language)] == []


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_family_has_its_translation(language):
    sides = [column for side in SIDES.values() for column in side.columns]
    columns = [*table_columns([metric.column for metric in METRICS]), *COLUMNS, *sides]
    titles = {family_title(column.family) for column in columns}
    titles |= {side.title for side in SIDES.values()}
    assert titles - catalog(language).keys() == set()


def test_texts_of_a_script_are_collected():
    script = r"""const a = tr("one {n}", { n }); attr("no"); tr(
      "two \"quoted\"") + tr(`three`);"""
    assert script_texts(script) == ["one {n}", 'two "quoted"']


@pytest.mark.parametrize("name", [name for name in PARTS if name.endswith(".js")])
def test_no_text_of_a_script_escapes_the_collection(name):
    """``tr`` gets one literal in double quotes, which the collection sees."""
    text = FOLDER.joinpath(name).read_text("utf-8").replace("function tr(", "")
    assert text.count("tr(") - text.count("attr(") == len(script_texts(text)), name


def test_every_script_is_in_a_page():
    every = {*SCRIPTS, *RUNS_SCRIPTS, *TRAINING_SCRIPTS}
    every |= {*MIXTURE_SCRIPTS, *SIGNALS_SCRIPTS, *GRAFT_SCRIPTS, *EXPERIMENTS_SCRIPTS}
    every |= {*SERIES_SCRIPTS}
    assert {f"{name}.js" for name in every} == {name for name in PARTS if name.endswith(".js")}


@pytest.mark.parametrize(("language", "words"), [("en", "All rows"), ("zh", "全部行")])
def test_the_page_is_in_the_reader_s_language(data, monkeypatch, language, words):
    monkeypatch.setenv(VARIABLE, language)
    page = report_html(data)
    assert f'<html lang="{LANGUAGE_TAGS[language]}">' in page
    assert f"<h2>{words}</h2>" in page
    assert "[[" not in page[: page.index("<script")]


def test_every_language_has_its_tag():
    assert set(LANGUAGE_TAGS) == set(LANGUAGES)

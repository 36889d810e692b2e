"""Every column of every table explains itself, in every language."""

import json
import re

import pytest
from project import ROOT

from mlx_probe.analysis.tables import columns_by_table
from mlx_probe.analysis.typical import (
    POPULATIONS,
    Spread,
    spreads_of,
    typical_text,
    with_typical_texts,
)
from mlx_probe.core.language import LANGUAGES, catalog, speaking
from mlx_probe.metrics import FAMILIES

COLUMNS = [(table, column) for table, columns in columns_by_table().items() for column in columns]
IDS = [f"{table}.{column.name}" for table, column in COLUMNS]
LONGEST = 200
# A sentence ends where a period is followed by a capital letter; "e.g." has none.
SECOND_SENTENCE = re.compile(r"[a-z0-9)`]\. +[A-Z]")


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=IDS)
def test_a_column_says_what_it_is(table, column):
    sentences = (column.plain, typical_text(column, table), column.caveat)
    for text in sentences:
        assert text.endswith("."), text
        assert not SECOND_SENTENCE.search(text), text
        assert len(text) < LONGEST, text
    assert column.title[:1].isupper() or column.title[:1].isdigit()
    assert not column.title.endswith(".")
    assert column.source
    texts = (column.description, column.title, *sentences)
    assert len(set(texts)) == len(texts)


def test_a_title_is_one_name_for_one_thing():
    titles = {}
    for _, column in COLUMNS:
        assert titles.setdefault(column.name, column.title) == column.title


def test_a_table_has_no_title_twice():
    for table, columns in columns_by_table().items():
        titles = [column.title for column in columns]
        assert len(set(titles)) == len(titles), table


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_text_is_translated(language):
    fields = ("title", "plain", "typical", "caveat", "source", "description", "unit")
    texts = {getattr(column, name) for _, column in COLUMNS for name in fields}
    missing = texts - {*catalog(language), ""}
    assert not missing


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_families_are_translated(language):
    for family in FAMILIES:
        assert {family.title, family.description} <= {*catalog(language)}


def test_a_text_with_numbers_is_translated_without_them():
    columns = columns_by_table()["params"]
    alpha = next(column for column in columns if column.name == "alpha")
    with speaking("zh"):
        text = typical_text(alpha)
    assert "SmolLM2-135M 中为 2.4 到 14（中位数 5.5）" in text
    assert text.endswith("。")


def test_the_package_carries_what_was_measured():
    path = ROOT / "benchmarks" / "results" / "typical.json"
    measured = {}
    for table, name, population, _, *quantiles, _ in json.loads(path.read_text("utf-8"))["rows"]:
        measured.setdefault((table, name), {})[population] = Spread(*quantiles)
    for table, column in COLUMNS:
        assert spreads_of(table, column.name) == measured.pop((table, column.name), {})
    assert not measured
    populations = {name for table, column in COLUMNS for name in spreads_of(table, column.name)}
    assert populations == {*POPULATIONS}


def test_readers_get_no_fields():
    for table, columns in columns_by_table().items():
        assert not any("{" in column.typical for column in with_typical_texts(columns, table))

"""What is put between the markers of the documentation's pages."""

import json
from dataclasses import replace

import pytest

from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.checkpoint.packings import PACKINGS
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.compute.spectrum.methods import METHODS
from mlx_probe.core.formats import FORMATS
from mlx_probe.core.records import Column
from mlx_probe.report.columns import columns_page
from mlx_probe.report.docs import NOT_MEASURED, TABLES, filled, page_hash, results_text
from mlx_probe.runs.table import WRITERS
from mlx_probe.source.stores import STORES

RESULT = {
    "date": "2026-11-28",
    "machine": "two cores",
    "command": "python benchmarks/x.py",
    "columns": ["model", "seconds", "error"],
    "rows": [["a|b", 1234.5, 1e-9], ["c", 2, None]],
    "note": "Medians.",
}
PAGE = """# Page

<!-- results: x -->
old
<!-- /results -->

Between.

<!-- table: METHODS -->
<!-- /table -->
"""


def test_a_page_is_filled_between_its_markers_only(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(RESULT))
    text = filled(PAGE, tmp_path)
    assert "old" not in text
    assert "\nBetween.\n" in text
    assert f"<!-- table: METHODS -->\n{TABLES['METHODS']()}\n<!-- /table -->\n" in text
    assert filled(text, tmp_path) == text


def test_a_result_is_a_table_with_date_machine_and_command(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(RESULT))
    lines = results_text(path).splitlines()
    assert lines[0] == "| model | seconds | error |"
    assert lines[2:4] == ["| a\\|b | 1,234.5 | 1e-09 |", "| c | 2 |  |"]
    assert "2026-11-28, two cores, `python benchmarks/x.py`." in lines
    assert lines[-1] == "Medians."


def test_a_missing_result_says_so(tmp_path):
    assert results_text(tmp_path / "none.json") == NOT_MEASURED
    assert f"<!-- results: x -->\n{NOT_MEASURED}\n<!-- /results -->" in filled(PAGE, tmp_path)


def test_a_result_without_its_date_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({key: RESULT[key] for key in RESULT if key != "date"}))
    with pytest.raises(ValueError, match="lacks date"):
        results_text(path)


def test_an_unknown_table_is_refused(tmp_path):
    with pytest.raises(KeyError, match="NOTHING"):
        filled(PAGE.replace("METHODS", "NOTHING"), tmp_path)


def test_a_hash_follows_the_words_and_not_what_is_generated(tmp_path):
    text = filled(PAGE, tmp_path)
    assert page_hash(text) == page_hash(PAGE)
    assert page_hash(PAGE.replace("Between", "Among")) != page_hash(PAGE)


@pytest.mark.parametrize(
    ("name", "table", "changes"),
    [
        ("BACKENDS", BACKENDS, {"description": "a made-up backend"}),
        ("FORMATS", FORMATS, {"title": "made up", "content": "a made-up format"}),
        ("METHODS", METHODS, {"description": "a made-up method"}),
        ("PACKINGS", PACKINGS, {"content": "a made-up packing"}),
        ("SIDES", SIDES, {"about": "a made-up table"}),
        ("STORES", STORES, {"title": "a made-up store"}),
        ("WRITERS", WRITERS, {"description": "a made-up format"}),
    ],
)
def test_a_new_member_is_in_the_docs(monkeypatch, name, table, changes):
    member = replace(next(iter(table.values())), **changes)
    monkeypatch.setitem(table, "made_up", member)
    text = TABLES[name]()
    assert all(value in text for value in changes.values())
    assert name == "FORMATS" or "`made_up`" in text


def test_a_new_side_table_has_its_columns_on_their_page(monkeypatch):
    column = Column("made_up_column", "float64", "identity", "Made up | here.", "weight", 0, 1)
    side = replace(next(iter(SIDES.values())), columns=(column,))
    monkeypatch.setitem(SIDES, "made_up", side)
    text = columns_page()
    assert "\n## made_up\n" in text
    assert "| `made_up_column` | `float64` | weight | 0 to 1 | Made up \\| here. |" in text

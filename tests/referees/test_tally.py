"""The summary: cases by area, and what is no case counts only where it fails."""

import json
from types import SimpleNamespace

from referees.tally import OUTCOME, REASON, Area, tally, write_json

FILE = "tests/referees/packings/test_x.py::test_x"


def report(test, outcome="passed", when="call", properties=()):
    return SimpleNamespace(nodeid=test, outcome=outcome, when=when, user_properties=properties)


def test_cases_are_counted_by_area(tmp_path):
    areas = tally(
        [
            report(f"{FILE}[a]", when="setup"),
            report(f"{FILE}[a]"),
            report(f"{FILE}[b]", properties=[(OUTCOME, REASON)]),
            report(f"{FILE}[c]", "failed"),
            report(f"{FILE}[d]", "skipped"),
            report(f"{FILE}[e]", "skipped", when="setup"),
            report(f"{FILE}[f]", "failed", when="setup"),
            report(FILE),
            report("tests/core/test_units.py::test_units[a]", "failed"),
            report("tests/referees/adapters/test_y.py::test_y", "failed"),
        ]
    )
    assert areas == {
        "adapters/y": Area(failed=1),
        "packings/x": Area(right=1, reason=1, failed=2, not_run=2),
        "all": Area(right=1, reason=1, failed=3, not_run=2),
    }
    assert areas["all"].line().split() == ["7", "1", "1", "3", "2"]
    path = tmp_path / "build" / "referees.json"
    write_json(path, areas)
    assert json.loads(path.read_text())["all"]["cases"] == 7


def test_nothing_of_the_referees_is_no_summary():
    assert tally([report("tests/core/test_units.py::test_units[a]")]) == {}

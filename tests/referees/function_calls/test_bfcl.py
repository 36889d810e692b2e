"""bfcl-eval's own checker beside ours: every Python truth of the leaderboard, changed in many ways.

One case is a category of its data.
"""

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from bfcl_cases import CASES, bfcl_eval
from bfcl_mutations import mutated
from project import ROOT

from mlx_probe.lab.evaluate.bfcl import CATEGORIES, check_calls

WITH_TRUTH = [name for name, category in CATEGORIES.items() if category.has_truth]
# As many as there are; and the fewest mutations that a truth has.
TRUTHS, FEWEST = 2351, 8


@pytest.fixture(scope="module")
def referee():
    return bfcl_eval()


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def questions(category):
    """(id, functions, accepted answers) of a category."""
    data = Path(find_spec("bfcl_eval").submodule_search_locations[0], "data")
    answers = lines(data / "possible_answer" / f"BFCL_v4_{category}.json")
    for question, answer in zip(lines(data / f"BFCL_v4_{category}.json"), answers, strict=True):
        yield question["id"], question["function"], answer["ground_truth"]


@pytest.mark.parametrize("category", WITH_TRUTH)
def test_the_same_verdict(referee, category):
    """All truths, with "." in names as it is and as "_" in turn."""
    other, checked = Counter(), 0
    for number, (identity, functions, truth) in enumerate(questions(category)):
        count = 0
        for name, calls in mutated(functions, truth, identity):
            underscores = (number + count) % 2 == 1
            wanted = referee(functions, calls, truth, category, underscores)
            verdict = check_calls(functions, calls, truth, category, underscores)
            assert verdict.valid is (verdict.error_type is None)
            if verdict.error_type != wanted:
                other[name, wanted, verdict.error_type] += 1
            count += 1
        assert count >= FEWEST, identity
        checked += 1
    assert not other
    assert checked > 10


def test_all_truths(referee):
    assert sum(1 for category in WITH_TRUTH for _ in questions(category)) == TRUTHS


def test_the_recorded_verdicts(referee):
    """Those that the other tests compare with, on machines without bfcl-eval."""
    path = ROOT / "tests" / "data" / "bfcl_verdicts.json"
    recorded = json.loads(path.read_text("utf-8"))
    found = {
        title: {
            name: referee(functions, calls, truth, category)
            for name, calls in mutated(functions, truth, title)
        }
        for title, (category, functions, truth) in CASES.items()
    }
    assert recorded == found

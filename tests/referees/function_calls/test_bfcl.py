"""bfcl-eval's own checker beside ours: every Python truth of the leaderboard, changed in many ways.

One case is a category of its data.
"""

import ast
import json
import random
import re
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from bfcl_cases import CASES, READ, bfcl_eval
from bfcl_mutations import mutated
from project import ROOT

from mlx_probe.lab.evaluate.bfcl import CATEGORIES, check_calls, decode_prompted

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


def test_the_same_reading(referee):
    """What the leaderboard's reader of Python calls makes of answers, taken from its source.

    The module that holds it imports the clients of all providers.
    """
    root = Path(find_spec("bfcl_eval").submodule_search_locations[0])
    tree = ast.parse((root / "model_handler" / "utils.py").read_text("utf-8"))
    names = {"ast_parse", "resolve_ast_call", "resolve_ast_by_type", "default_decode_ast_prompting"}
    tree.body = [each for each in tree.body if getattr(each, "name", None) in names]
    space = {"ast": ast, "re": re, "ReturnFormat": SimpleNamespace(PYTHON=1)}
    with warnings.catch_warnings():
        # "\d" in texts.
        warnings.simplefilter("ignore")
        exec(compile(tree, "utils.py", "exec"), space)
        for text in broken_texts():
            try:
                wanted = repr(space["default_decode_ast_prompting"](text, 1))
            except Exception:
                wanted = "not readable"
            try:
                found = repr(decode_prompted(text))
            except ValueError:
                found = "not readable"
            assert found == wanted, text


def broken_texts():
    """The texts of our own tests, and thousands with a few characters changed."""
    rng = random.Random(0)
    texts = [text for text, _ in READ]
    yield from texts
    for _ in range(5000):
        text = rng.choice(texts)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(text) + 1)
            change = rng.choice(
                ["", "[", "]", "(", ")", "'", '"', "=", ",", "-", "+", "1", "x", "."]
            )
            text = text[:at] + change + text[at + rng.randrange(2) :]
        yield text

"""What answers earn, with what the usual scripts get wrong."""

import pytest
from project import ROOT
from tool_data import tool

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.rewards import REWARDS
from mlx_probe.lab.rewards.attempt import expected_calls, make_attempt
from mlx_probe.lab.rewards.outcome import Outcome
from mlx_probe.lab.rewards.total import WEIGHTS, load_reward, make_judge
from mlx_probe.lab.rewards.values import same_value

ADD = tool("add", {"a": {"type": "integer"}, "b": {"type": "integer"}}, ["a", "b"])
SAY = tool("say", {"text": {"type": "string"}}, ["text"])
NOW = tool("now")
WANTED = Call("add", {"a": 1, "b": 2})
OTHER = Call("say", {"text": "x"})


def run(call):
    if call.name != "add":
        return Outcome("unknown")
    try:
        return Outcome("ok", call.arguments["a"] + call.arguments["b"])
    except (KeyError, TypeError):
        return Outcome("error")


def written(name="add", **arguments):
    import json

    return json.dumps({"name": name, "arguments": arguments})


RIGHT = written(a=1, b=2)
# The answer, what is expected, and what it earns: valid_json, function_name, arguments, schema,
# execution.
CASES = {
    "right": (RIGHT, [WANTED], (1, 1, 1, 1, 1)),
    "right with text": (f"I add. {RIGHT}", [WANTED], (1, 1, 1, 1, 1)),
    "right in a block": (f"<tool_call>{RIGHT}</tool_call>", [WANTED], (1, 1, 1, 1, 1)),
    "right behind thinking": (f"<think>{written('say')}</think>{RIGHT}", [WANTED], (1, 1, 1, 1, 1)),
    "right in Python": ("[add(a=1, b=2)]", [WANTED], (1, 1, 1, 1, 1)),
    "1.0 is 1": (written(a=1.0, b=2), [WANTED], (1, 1, 1, 1, 1)),
    "other order": ('{"arguments": {"b": 2, "a": 1}, "name": "add"}', [WANTED], (1, 1, 1, 1, 1)),
    "same result, other arguments": (written(a=2, b=1), [WANTED], (1, 1, 0, 1, 1)),
    "true is no integer": (written(a=True, b=2), [WANTED], (1, 1, 0.5, 0, 1)),
    "text for a number": (written(a="1", b=2), [WANTED], (1, 1, 0.5, 0, 0)),
    "one wrong value": (written(a=3, b=2), [WANTED], (1, 1, 0.5, 1, 0)),
    "one missing": (written(a=1), [WANTED], (1, 1, 2 / 3, 0, 0)),
    "one too many": (written(a=1, b=2, c=3), [WANTED], (1, 1, 0.8, 0, 1)),
    "no arguments": (written(), [WANTED], (1, 1, 0, 0, 0)),
    # Its arguments are valid for its own function, and earn nothing.
    "wrong function": (written("say", text="x"), [WANTED], (1, 0, 0, 0, 0)),
    "wrong function, right arguments": (written("sub", a=1, b=2), [WANTED], (1, 0, 0, 0, 0)),
    "another case": (written("Add", a=1, b=2), [WANTED], (1, 0, 0, 0, 0)),
    "nothing": ("", [WANTED], (0, 0, 0, 0, 0)),
    "text": ("I would add 1 and 2.", [WANTED], (0, 0, 0, 0, 0)),
    "broken": ('{"name": "add", "arguments": {"a": 1', [WANTED], (0, 0, 0, 0, 0)),
    "broken and right": (f"{RIGHT}\n{{'name'", [WANTED], (1, 1, 1, 1, 1)),
    "right and broken": (f'{RIGHT}\n{{"name": "say"', [WANTED], (0.5, 1, 1, 1, 1)),
    "twice": (f"{RIGHT}\n{RIGHT}", [WANTED], (1, 0.5, 0.5, 0.5, 0.5)),
    "right and a wrong one": (
        f"{RIGHT}\n{written('say', text='x')}",
        [WANTED],
        (1, 0.5, 0.5, 0.5, 0.5),
    ),
    "many": ("\n".join([RIGHT] * 500), [WANTED], (1, 1 / 500, 1 / 500, 1 / 500, 1 / 500)),
    "two of two": (
        f"{RIGHT}\n{written('say', text='x')}",
        [WANTED, OTHER],
        (1, 1, 1, 1, 0.5),
    ),
    "two, the other way round": (
        f"{written('say', text='x')}\n{RIGHT}",
        [WANTED, OTHER],
        (1, 1, 1, 1, 0.5),
    ),
    "one of two": (RIGHT, [WANTED, OTHER], (1, 0.5, 0.5, 0.5, 0.5)),
    "twice where twice is right": (
        f"{written(a=5, b=6)}\n{RIGHT}",
        [WANTED, Call("add", {"a": 5, "b": 6})],
        (1, 1, 1, 1, 1),
    ),
    "the same twice where two differ": (
        f"{RIGHT}\n{RIGHT}",
        [WANTED, Call("add", {"a": 5, "b": 2})],
        (1, 1, 0.75, 1, 0.5),
    ),
    "without parameters": (written("now"), [Call("now", {})], (1, 1, 1, 1, 0)),
    "with an invented one": (written("now", zone="x"), [Call("now", {})], (1, 1, 0, 0, 0)),
    "no call is right": ("None fits.", [], (1, 1, 1, 1, 1)),
    "no call would be right": (RIGHT, [], (1, 0, 0, 0, 0)),
    "a broken call where none is right": ('{"name": "add"', [], (0, 0, 0, 0, 0)),
}


@pytest.mark.parametrize("case", CASES)
def test_what_an_answer_earns(case):
    text, expected, scores = CASES[case]
    attempt = make_attempt(text, [ADD, {"type": "function", "function": SAY}, NOW], expected, run)
    found = {name: reward.score(attempt) for name, reward in REWARDS.items()}
    assert found == pytest.approx(dict(zip(REWARDS, scores, strict=True)))
    judgement = make_judge().judge(attempt)
    assert judgement.total == pytest.approx(sum(WEIGHTS[name] * found[name] for name in WEIGHTS))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (None, False, False),
        ("1", 1, False),
        ([1, [2.0]], [1.0, [2]], True),
        ([1, 2], [2, 1], False),
        ({"a": 1, "b": [True]}, {"b": [True], "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ({"a": True}, {"a": 1}, False),
        (float("nan"), float("nan"), True),
        (float("nan"), 1, False),
        (2**60, float(2**60), True),
        ("Paris", "paris", False),
        ({}, [], False),
    ],
)
def test_values(one, other, same):
    assert same_value(one, other) is same
    assert same_value(other, one) is same


def test_what_is_expected_is_in_a_message():
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}
    assert expected_calls({"role": "assistant", "tool_calls": [call]}) == (WANTED,)
    assert expected_calls({"role": "assistant", "content": "x"}) == ()


def length_reward(attempt):
    """An own reward: short answers."""
    return 1 / (1 + len(attempt.text))


def wrong_reward(attempt):
    return 2


def failing_reward(attempt):
    raise KeyError("x")


@pytest.fixture
def own(monkeypatch):
    """This module by a name that can be imported."""
    import sys

    monkeypatch.setitem(sys.modules, "own_rewards", sys.modules[__name__])


def test_own_rewards(own):
    attempt = make_attempt(RIGHT, [ADD], [WANTED])
    judge = make_judge({"own_rewards:length_reward": 1, "arguments": 3, "schema": 0})
    judgement = judge.judge(attempt)
    parts = {"own_rewards:length_reward": 1 / (1 + len(RIGHT)), "arguments": 1}
    assert judgement.parts == parts
    assert judgement.total == pytest.approx((parts["own_rewards:length_reward"] + 3) / 4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_rewards:wrong_reward", "gave 2\n  Return a number from 0 to 1"),
        ("own_rewards:failing_reward", "failed: KeyError: 'x'"),
    ],
)
def test_own_rewards_that_go_wrong(own, name, message):
    with pytest.raises(ConfigError, match=message):
        make_judge({name: 1}).judge(make_attempt("", [], []))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"argument": 1}, "no reward is called 'argument'\n  Choose among valid_json, "),
        ({"no_such_module:f": 1}, "cannot be imported: No module"),
        ({"json:no_such": 1}, "cannot be imported: module 'json' has no"),
        ({"json:__name__": 1}, "is no function"),
        ({"schema": -1}, "the weight of schema cannot be -1"),
        ({"schema": True}, "cannot be True"),
        ({"schema": float("nan")}, "cannot be nan"),
        ({"schema": "x"}, "cannot be 'x'"),
        ({"schema": 0}, "no reward has a weight"),
        ({}, "no reward has a weight"),
    ],
    ids=str,
)
def test_weights_that_make_no_reward(weights, message):
    with pytest.raises(ConfigError, match=message):
        make_judge(weights)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_has_every_reward(language):
    page = (ROOT / "docs" / language / "rewards.md").read_text("utf-8")
    for name, reward in REWARDS.items():
        assert f"| `{name}` | {WEIGHTS[name]:g} | " in page
        assert language == "zh" or f"| {reward.about} |" in page


def test_every_reward_has_a_weight():
    assert set(WEIGHTS) == set(REWARDS)
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    assert all(load_reward(name) is reward.score for name, reward in REWARDS.items())

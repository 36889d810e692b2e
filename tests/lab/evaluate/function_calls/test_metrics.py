"""The six metrics, case by case, with those that usual scripts get wrong."""

import json

import pytest

from mlx_probe.lab.evaluate.function_calls.metrics import ERRORS, item_values
from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.function_calls.reading import read_answer


def function(name, required=(), **types):
    properties = {key: {"type": kind} for key, kind in types.items()}
    return {
        "name": name,
        "parameters": {"type": "object", "properties": properties, "required": list(required)},
    }


WEATHER = function("weather", ["city"], city="string", days="integer", metric="boolean")
ROUTE = function("route", ["a", "b"], a="string", b="string", stops="array")
NOW = function("now")
FUNCTIONS = [WEATHER, ROUTE, NOW]


def say(name, **arguments):
    return json.dumps({"name": name, "arguments": arguments})


PARIS = Call("weather", {"city": "Paris", "days": 3})
ROME = Call("weather", {"city": "Rome", "days": 3})
TRIP = Call("route", {"a": "Paris", "b": "Rome"})
P, R, T = say("weather", city="Paris", days=3), say("weather", city="Rome", days=3), say(
    "route", a="Paris", b="Rome"
)  # fmt: skip

# What is written, what is wanted; parsed, names, F1, schema, whole, first error.
CASES = {
    "right": (P, [PARIS], True, True, 1, True, True, None),
    "words around a call": (f"Sure! {P} Done.", [PARIS], True, True, 1, True, True, None),
    "a fence": (f"```json\n{P}\n```", [PARIS], True, True, 1, True, True, None),
    "a block": (f"<tool_call>\n{P}\n</tool_call>", [PARIS], True, True, 1, True, True, None),
    "Python": ('[weather(city="Paris", days=3)]', [PARIS], True, True, 1, True, True, None),
    "arguments in another order": (
        say("weather", days=3, city="Paris"), [PARIS], True, True, 1, True, True, None),
    "3.0 is 3": (say("weather", city="Paris", days=3.0), [PARIS], True, True, 1, True, True, None),
    # Thinking.
    "thinking before": (f"<think>Rome? {R}</think>{P}", [PARIS], True, True, 1, True, True, None),
    "thinking that began in the template": (
        f"maybe {R}</think>{P}", [PARIS], True, True, 1, True, True, None),
    "only thinking": (f"<think>{P}", [PARIS], False, False, 0, False, False, "no_call"),
    # Two calls.
    "two calls in one answer": (f"{P}\n{R}", [PARIS, ROME], True, True, 1, True, True, None),
    "in another order": (f"{R}\n{P}", [PARIS, ROME], True, True, 1, True, True, None),
    "an array of two": (f"[{R}, {P}]", [PARIS, ROME], True, True, 1, True, True, None),
    "two blocks": (
        f"<tool_call>{P}</tool_call><tool_call>{R}</tool_call>", [PARIS, ROME],
        True, True, 1, True, True, None),
    "the same call twice": (f"{P}\n{P}", [PARIS, PARIS], True, True, 1, True, True, None),
    "twice where once is wanted": (
        f"{P}\n{P}", [PARIS], True, False, 2 / 3, True, False, "too_many_calls"),
    "the second call is missing": (
        P, [PARIS, ROME], True, False, 2 / 3, True, False, "too_few_calls"),
    "the first one twice for two": (
        f"{P}\n{P}", [PARIS, ROME], True, True, 3 / 4, True, False, "wrong_value"),
    "a second call that is too much": (
        f"{P}\n{T}", [PARIS], True, False, 2 / 3, True, False, "too_many_calls"),
    "two different functions": (f"{T}\n{P}", [PARIS, TRIP], True, True, 1, True, True, None),
    # The second call of the answer fits the first wanted one better.
    "calls are matched by their arguments": (
        f"{say('weather', city='Rome', days=9)}\n{P}", [PARIS, ROME],
        True, True, 3 / 4, True, False, "wrong_value"),
    # A wrong function.
    "a wrong function earns nothing": (
        say("route", city="Paris", days=3), [PARIS],
        True, False, 0, False, False, "wrong_function"),
    "the right arguments of a function that is not there": (
        say("wetter", city="Paris", days=3), [PARIS],
        True, False, 0, False, False, "unknown_function"),
    "the name in other letters": (
        say("Weather", city="Paris", days=3), [PARIS],
        True, False, 0, False, False, "unknown_function"),
    # Arguments.
    "true is no integer": (
        say("weather", city="Paris", days=True), [Call("weather", {"city": "Paris", "days": 1})],
        True, True, 1 / 2, False, False, "wrong_type"),
    "1 is no boolean": (
        say("weather", city="P", metric=1), [Call("weather", {"city": "P", "metric": True})],
        True, True, 1 / 2, False, False, "wrong_type"),
    "a number in a text": (
        say("weather", city="Paris", days="3"), [PARIS],
        True, True, 1 / 2, False, False, "wrong_type"),
    "a wrong value": (
        say("weather", city="Rome", days=3), [PARIS],
        True, True, 1 / 2, True, False, "wrong_value"),
    "another case of a text": (
        say("weather", city="paris", days=3), [PARIS],
        True, True, 1 / 2, True, False, "wrong_value"),
    "a missing argument": (
        say("weather", city="Paris"), [PARIS], True, True, 2 / 3, True, False, "missing_argument"),
    "a missing argument that is required": (
        say("weather", days=3), [PARIS], True, True, 2 / 3, False, False, "missing_argument"),
    "one argument more": (
        say("weather", city="Paris", days=3, metric=True), [PARIS],
        True, True, 4 / 5, True, False, "unknown_argument"),
    "an argument that no function has": (
        say("weather", city="Paris", days=3, wind=1), [PARIS],
        True, True, 4 / 5, False, False, "unknown_argument"),
    "the order of a list": (
        say("route", a="x", b="y", stops=["1", "2"]),
        [Call("route", {"a": "x", "b": "y", "stops": ["2", "1"]})],
        True, True, 2 / 3, True, False, "wrong_value"),
    "null is no value": (
        say("weather", city="Paris", days=None), [PARIS],
        True, True, 1 / 2, False, False, "wrong_type"),
    "no arguments": (say("now"), [Call("now", {})], True, True, 1, True, True, None),
    "arguments for a function without": (
        say("now", zone="UTC"), [Call("now", {})],
        True, True, 0, False, False, "unknown_argument"),
    "swapped values": (
        say("route", a="Rome", b="Paris"), [TRIP], True, True, 0, True, False, "wrong_value"),
    # What cannot be read.
    "cut off": (P[:-2], [PARIS], False, False, 0, False, False, "not_readable"),
    "cut off in the second call": (
        f"{P}\n{R[:-4]}", [PARIS, ROME], False, False, 2 / 3, False, False, "not_readable"),
    "words": ("It rains in Paris.", [PARIS], False, False, 0, False, False, "no_call"),
    "nothing": ("", [PARIS], False, False, 0, False, False, "no_call"),
    "JSON that is no call": (
        '{"city": "Paris"}', [PARIS], False, False, 0, False, False, "no_call"),
    "arguments that are no object": (
        '{"name": "weather", "arguments": [3]}', [PARIS],
        False, False, 0, False, False, "not_readable"),
    # No function fits.
    "words where no call is wanted": (
        "None of them fits.", [], True, True, None, None, True, None),
    "a call where none is wanted": (
        P, [], True, False, None, None, False, "call_where_none_fits"),
    "half a call where none is wanted": (
        P[:-3], [], False, False, None, None, False, "not_readable"),
    "a call in thoughts only": (
        f"<think>{P}</think>No.", [], True, True, None, None, True, None),
}  # fmt: skip


@pytest.mark.parametrize("title", CASES)
def test_metrics(title):
    text, wanted, parsed, names, f1, schema, whole, error = CASES[title]
    values = item_values(read_answer(text), wanted, FUNCTIONS)
    found = (values.parsed, values.names, values.schema, values.whole, values.error)
    assert found == (parsed, names, schema, whole, error), values
    assert values.f1 == (None if f1 is None else pytest.approx(f1))
    assert values.executed is None
    assert (values.error is None) is whole


def test_there_are_enough_cases():
    assert len(CASES) >= 40
    assert {case[-1] for case in CASES.values()} == {None, *ERRORS}


def test_the_order_of_many_calls_does_not_matter():
    """Beyond ten calls of one function, pairs are found one after the other."""
    calls = [Call("weather", {"city": f"town {n}", "days": n}) for n in range(14)]
    text = "\n".join(say(call.name, **call.arguments) for call in reversed(calls))
    values = item_values(read_answer(text), calls, FUNCTIONS)
    assert (values.whole, values.f1) == (True, 1)

"""Calls of registered functions: what they do counts, not how they are written."""

import json

import pytest
from bfcl_folder import write_lines

from mlx_probe.lab.evaluate.answers.config import AnswerConfig
from mlx_probe.lab.evaluate.evaluate import evaluate
from mlx_probe.lab.evaluate.function_calls.execution import executes
from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.rewards.outcome import Outcome

FUNCTIONS = {"add": lambda a, b: a + b, "half": lambda a: a / 2, "fail": lambda: 1 / 0}


def run(call):
    if call.name not in FUNCTIONS:
        return Outcome("unknown")
    try:
        return Outcome("ok", FUNCTIONS[call.name](**call.arguments))
    except Exception as error:
        return Outcome("error", text=str(error))


@pytest.mark.parametrize(
    ("made", "wanted", "executed"),
    [
        ([("add", {"a": 1, "b": 2})], [("add", {"a": 1, "b": 2})], True),
        # Other arguments, the same result.
        ([("add", {"a": 2, "b": 1})], [("add", {"a": 1, "b": 2})], True),
        ([("add", {"a": 1, "b": 1})], [("add", {"a": 1, "b": 2})], False),
        ([("add", {"a": 1})], [("add", {"a": 1, "b": 2})], False),
        ([("add", {"a": "1", "b": 2})], [("add", {"a": 1, "b": 2})], False),
        # The same result of another function.
        ([("half", {"a": 6})], [("add", {"a": 1, "b": 2})], False),
        ([("half", {"a": 1}), ("half", {"a": 2})], [("half", {"a": 2}), ("half", {"a": 1})], True),
        ([("half", {"a": 1}), ("half", {"a": 1})], [("half", {"a": 2}), ("half", {"a": 1})], False),
        ([], [("half", {"a": 2})], False),
        ([("system", {"command": "rm"})], [("half", {"a": 2})], False),
        # Not measured: the wanted call is not registered, fails itself, or there is none.
        ([("half", {"a": 2})], [("weather", {})], None),
        ([("fail", {})], [("fail", {})], None),
        ([], [], None),
    ],
)
def test_executes(made, wanted, executed):
    calls = [[Call(*call) for call in calls] for calls in (made, wanted)]
    assert executes(*calls, run) is executed


def test_the_built_in_functions(tmp_path):
    """In the sandbox's process."""
    name = "calculate_triangle_area"
    call = {"type": "function", "function": {"name": name, "arguments": {"base": 10, "height": 5}}}
    tool = {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    rows = [{"id": key, "messages": messages, "tools": [tool]} for key in "abc"]
    write_lines(tmp_path / "test.jsonl", rows)
    texts = {
        "a": {"name": name, "arguments": {"base": 5, "height": 10}},
        "b": {"name": name, "arguments": {"base": 5, "height": 5}},
    }
    lines = [{"id": key, "text": json.dumps(value)} for key, value in texts.items()]
    answers = write_lines(tmp_path / "answers.jsonl", [*lines, {"id": "c", "text": "25"}])
    config = AnswerConfig(registered="built-in")
    result = evaluate(None, tmp_path, "function-calls", config, predictions=answers)
    record = result["metrics"]["execution_rate"]
    assert (record["count"], record["items"]) == (1, 3)

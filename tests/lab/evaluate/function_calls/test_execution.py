"""Calls of registered functions; nothing else runs."""

import sys
from types import ModuleType

import pytest

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.evaluate.function_calls.execution import executes, registered_functions
from mlx_probe.lab.function_calls.call import Call

FUNCTIONS = {"add": lambda a, b: a + b, "half": lambda a: a / 2, "fail": lambda: 1 / 0}


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
    assert executes(*calls, FUNCTIONS) is executed


def test_registered_functions(monkeypatch):
    module = ModuleType("my_functions")
    module.FUNCTIONS, module.OTHER = FUNCTIONS, {"x": 3}
    monkeypatch.setitem(sys.modules, "my_functions", module)
    assert registered_functions("my_functions:FUNCTIONS") is FUNCTIONS
    for wrong in ("my_functions", "my_functions:none", "my_functions:OTHER", "no.such:X", ":"):
        with pytest.raises(ConfigError):
            registered_functions(wrong)

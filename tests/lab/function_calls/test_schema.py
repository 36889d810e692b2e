"""Arguments against the function's schema, with what the usual scripts get wrong."""

import pytest

from mlx_probe.lab.function_calls.schema import TYPES, argument_problems


def function(properties, required=(), **more):
    parameters = {"type": "object", "properties": properties, "required": list(required), **more}
    return {"name": "f", "parameters": parameters}


def of(kind, **more):
    return function({"a": {"type": kind, **more}}, ["a"])


FITS = {
    "integer": (of("integer"), 3),
    "1.0 for an integer": (of("integer"), 1.0),
    "an integer for a number": (of("number"), 3),
    "an integer for BFCL's float": (of("float"), 3),
    "BFCL's dict": (of("dict", properties={"b": {"type": "float"}}), {"b": 1.5}),
    "a dict with more": (of("dict", properties={}), {"b": 1.5}),
    "a list for BFCL's tuple": (of("tuple", items={"type": "integer"}), [1, 2]),
    "BFCL's any": (of("any"), {"b": [None]}),
    "null where it may be": (of(["integer", "null"]), None),
    "nullable": (of("string", nullable=True), None),
    "enum": (of("string", enum=["x", "y"]), "y"),
    "union": (function({"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}), None),
    "Java": (of("HashMap"), {"k": "v"}),
    "no type": (function({"a": {}}), [1]),
    "an older list of items": (of("array", items=[{"type": "float"}]), [1.5]),
    "a reference": (
        function({"a": {"$ref": "#/$defs/n"}}, **{"$defs": {"n": {"type": "int"}}}),
        3,
    ),
}

PROBLEMS = {
    "true is no integer": (of("integer"), True, "type", "a"),
    "true is no number": (of("number"), True, "type", "a"),
    "true is no BFCL float": (of("float"), True, "type", "a"),
    "1 is no boolean": (of("boolean"), 1, "type", "a"),
    "1.5 for an integer": (of("integer"), 1.5, "type", "a"),
    "text for an integer": (of("integer"), "3", "type", "a"),
    "null": (of("integer"), None, "type", "a"),
    "a list for a dict": (of("dict"), [], "type", "a"),
    "text for a list": (of("array"), "ab", "type", "a"),
    "inside a list": (of("array", items={"type": "integer"}), [1, True], "type", "a[1]"),
    "inside a dict": (
        of("dict", properties={"b": {"type": "dict", "properties": {"c": {"type": "float"}}}}),
        {"b": {"c": "1"}},
        "type",
        "a.b.c",
    ),
    "missing inside": (
        of("dict", properties={"b": {"type": "integer"}}, required=["b"]),
        {},
        "missing",
        "a.b",
    ),
    "other case": (of("string", enum=["celsius"]), "Celsius", "value", "a"),
    "no type of a union": (
        function({"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}),
        "x",
        "type",
        "a",
    ),
    "range": (of("integer", minimum=3), 2, "value", "a"),
    "pattern": (of("string", pattern="^x"), "y", "value", "a"),
    "a type of no schema": (of("whatever"), 1, "schema", "properties.a.type"),
    "a number as schema": ({"name": "f", "parameters": 3}, 1, "schema", ""),
    "a broken pattern": (of("string", pattern="("), "y", "schema", "properties.a.pattern"),
    "a reference to nowhere": (function({"a": {"$ref": "#/x"}}), 1, "schema", ""),
    "no fetching": (function({"a": {"$ref": "http://127.0.0.1:9/x"}}), 1, "schema", ""),
}


@pytest.mark.parametrize("case", FITS)
def test_what_fits(case):
    which, value = FITS[case]
    assert argument_problems(which, {"a": value}) == ()


@pytest.mark.parametrize("case", PROBLEMS)
def test_what_does_not(case):
    which, value, kind, path = PROBLEMS[case]
    (problem,) = argument_problems(which, {"a": value})
    assert (problem.kind, problem.path) == (kind, path)


def test_every_argument_is_looked_at():
    which = function({"a": {"type": "integer"}, "b": {"type": "string"}}, ["a", "b"])
    problems = argument_problems(which, {"a": "x", "c": 1})
    assert {(p.kind, p.path) for p in problems} == {
        *{("type", "a"), ("missing", "b"), ("unknown", "c")}
    }
    texts = {problem.text for problem in problems}
    assert texts == {"a is of type string, not integer", "b is missing", "c is no parameter"}


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object", "properties": {}}])
def test_a_function_without_parameters_takes_none(parameters):
    which = {"name": "now"} if parameters is None else {"name": "now", "parameters": parameters}
    assert argument_problems(which, {}) == ()
    assert [problem.kind for problem in argument_problems(which, {"a": 1})] == ["unknown"]


@pytest.mark.parametrize("more", [{"additionalProperties": True}, {"patternProperties": {"x": {}}}])
def test_a_schema_may_allow_other_arguments(more):
    assert argument_problems(function({}, **more), {"x": 1}) == ()


def test_every_name_of_a_type_is_understood():
    for kind in TYPES:
        assert [p.kind for p in argument_problems(of(kind), {})] == ["missing"]


def test_a_function_is_not_changed():
    which = of("dict", properties={"b": {"type": "any"}})
    before = repr(which)
    argument_problems(which, {"a": {"b": 1}})
    assert repr(which) == before


def test_a_long_value_makes_a_short_text():
    (problem,) = argument_problems(of("string", enum=["x"]), {"a": "y" * 100_000})
    assert len(problem.text) < 300

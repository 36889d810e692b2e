"""BFCL's rules one by one, with those that look like mistakes."""

import json

import pytest

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.evaluate.bfcl import CATEGORIES, check_calls
from mlx_probe.lab.function_calls.call import Call


def function(required=(), name="f", **types):
    properties = {
        key: {"type": kind} if isinstance(kind, str) else {"type": kind[0], "items": kind[1]}
        for key, kind in types.items()
    }
    return {"name": name, "parameters": {"properties": properties, "required": list(required)}}


INTEGERS = ("array", {"type": "integer"})
DICTS = ("array", {"type": "dict"})

# Type of the parameter, what is accepted, what is given, BFCL's name of the error.
VALUES = [
    ("integer", [5], 5, None),
    ("integer", [5], 6, "value_error:others"),
    ("integer", [1], True, "type_error:simple"),
    ("integer", [5], 5.0, "type_error:simple"),
    ("integer", [5], "5", "type_error:simple"),
    ("boolean", [True], 1, "type_error:simple"),
    ("boolean", [True], True, None),
    ("boolean", [True], "True", "type_error:simple"),
    ("float", [5.0], 5, None),
    ("float", [1.0], True, "type_error:simple"),
    # Accepted integers agree on their own type, and 5.0 equals 5.
    ("float", [5], 5.0, None),
    ("float", [5], 5, None),
    ("float", [5.0], 10**400, "type_error:simple"),
    ("string", ["April 1, 2024"], "april 1-2024", None),
    ("string", ["it's"], 'IT"S', None),
    ("string", ["3.5"], "35", None),
    ("string", ["New York"], "New York City", "value_error:string"),
    ("string", ["5"], 5, "type_error:simple"),
    ("string", ["a", ""], "", None),
    # A number is accepted where a text is declared: the value may be one, and is not folded.
    ("string", [5], 5, None),
    ("string", [5, "x"], "x", None),
    ("string", [5, "x y"], "X Y", "value_error:others"),
    ("any", ["x"], "X", None),
    ("any", [3], 3, None),
    ("any", [3], 3.0, "type_error:simple"),
    (INTEGERS, [[1, 2]], [1, 2], None),
    (INTEGERS, [[1, 2]], [2, 1], "value_error:list/tuple"),
    (INTEGERS, [[1, 2]], (1, 2), "type_error:simple"),
    (INTEGERS, [[1, 2]], [1, "2"], "type_error:nested"),
    (INTEGERS, [[1, 2]], [True, 2], "type_error:nested"),
    (INTEGERS, [[1, 2]], [1, 2.0], "type_error:nested"),
    (INTEGERS, [[1, 2], ""], [1, "2"], "value_error:list/tuple"),
    (INTEGERS, [[1, 2], ""], [], None),
    (INTEGERS, [[1.0, 2.0]], [1, 2], None),
    (("array", {"type": "string"}), [["New York", "b"]], ["new-york", "B"], None),
    (("array", {"type": "array"}), [[["A"]]], [["a"]], "value_error:list/tuple"),
    (("tuple", {"type": "integer"}), [[1, 2]], (1, 2), None),
    (("tuple", {"type": "integer"}), [[1, 2]], [1, 2], None),
    ("dict", [{"a": [1], "b": ["X", ""]}], {"a": 1}, None),
    ("dict", [{"a": [1], "b": ["X", ""]}], {"a": 1, "b": "x"}, None),
    ("dict", [{"a": [1]}], {"a": 2}, "value_error:dict_value"),
    ("dict", [{"a": [1]}], {"a": 1, "c": 1}, "value_error:dict_key"),
    ("dict", [{"a": [1], "b": [2]}], {"a": 3}, "value_error:dict_key"),
    ("dict", [{"a": [1]}], {"a": True}, None),
    ("dict", [""], {"a": 1}, "dict_checker:unclear"),
    ("dict", [{"a": [1]}], [], "type_error:simple"),
    (DICTS, [[{"a": [1]}, {"a": [2]}]], [{"a": 1}, {"a": 2}], None),
    (DICTS, [[{"a": [1]}, {"a": [2]}]], [{"a": 2}, {"a": 1}], "value_error:dict_value"),
    (DICTS, [[{"a": [1]}, {"a": [2]}]], [{"a": 1}], "value_error:list_dict_count"),
    (DICTS, [[{"a": [1]}], ""], [7], "value_error:list_dict_count"),
    # The leaderboard's checker ends with an exception.
    (DICTS, ["", [{"a": [1]}]], [7], "type_error:nested"),
]


@pytest.mark.parametrize(("kind", "accepted", "value", "error"), VALUES)
def test_values(kind, accepted, value, error):
    verdict = check_calls(
        [function(x=kind)], [{"f": {"x": value}}], [{"f": {"x": accepted}}], "simple_python"
    )
    assert (verdict.valid, verdict.error_type) == (error is None, error)


TWO = [function(["a"], a="integer", b="string"), function(name="g.h", a="integer")]
ONE = [{"f": {"a": [1], "b": ["x", ""]}}]
PAIR = [{"f": {"a": [1], "b": [""]}}, {"g.h": {"a": [2]}}]
WHOLE = [
    ("simple", [{"f": {"a": 1}}], ONE, None),
    ("simple", [], ONE, "simple_function_checker:wrong_count"),
    ("simple", [{"f": {"a": 1}}] * 2, ONE, "simple_function_checker:wrong_count"),
    ("simple", [{"g.h": {"a": 1}}], ONE, "simple_function_checker:wrong_func_name"),
    ("simple", [{"F": {"a": 1}}], ONE, "simple_function_checker:wrong_func_name"),
    ("simple", [{"f": {"b": "x"}}], ONE, "simple_function_checker:missing_required"),
    ("simple", [{"f": {"a": 1, "c": 1}}], ONE, "simple_function_checker:unexpected_param"),
    ("simple", [{"f": {"c": 1}}], ONE, "simple_function_checker:missing_required"),
    ("simple", [{"f": {"a": 1}}], [{"f": {"a": [1], "b": ["x"]}}],
     "simple_function_checker:missing_optional"),
    # Declared, and not accepted.
    ("simple", [{"f": {"a": 1, "b": "x"}}], [{"f": {"a": [1]}}],
     "simple_function_checker:unexpected_param"),
    ("live_simple", [{"f": {"b": "X", "a": 1}}], ONE, None),
    ("multiple", [{"g.h": {"a": 2}}], PAIR[1:], None),
    ("multiple", [{"g.h": {"a": 2}}, {"f": {"a": 1}}], PAIR[1:],
     "multiple_function_checker:wrong_count"),
    ("parallel", [{"g.h": {"a": 2}}, {"f": {"a": 1}}], PAIR, None),
    ("parallel", [{"f": {"a": 1}}], PAIR, "parallel_function_checker_no_order:wrong_count"),
    ("parallel_multiple", [{"f": {"a": 1}}, {"f": {"a": 1}}], PAIR,
     "parallel_function_checker_no_order:cannot_find_match"),
    # The first answer takes the call that only the second one could have taken.
    ("live_parallel", [{"f": {"a": 1}}, {"f": {"a": 2}}],
     [{"f": {"a": [1, 2]}}, {"f": {"a": [1]}}],
     "parallel_function_checker_no_order:cannot_find_match"),
    ("irrelevance", [], None, None),
    ("irrelevance", [{"f": {}}], None, "irrelevance_error:decoder_success"),
    ("live_irrelevance", "no function fits", None, None),
    ("live_relevance", [{"anything": {}}], None, None),
    ("live_relevance", [], None, "relevance_error:decoder_failed"),
    ("live_relevance", "text", None, "relevance_error:decoder_failed"),
    ("simple", "f(a=1)", ONE, "ast_decoder:decoder_wrong_output_format"),
    ("simple", [{}], ONE, "ast_decoder:decoder_wrong_output_format"),
    ("simple", [{"f": 1}], ONE, "ast_decoder:decoder_wrong_output_format"),
    ("simple", ["f"], ONE, "ast_decoder:decoder_wrong_output_format"),
    ("simple", [{"f": {"a": 1}, "g": {}}], ONE, "ast_decoder:decoder_wrong_output_format"),
]  # fmt: skip


@pytest.mark.parametrize(("category", "calls", "truth", "error"), WHOLE)
def test_whole_answers(category, calls, truth, error):
    verdict = check_calls(TWO, calls, truth, category)
    assert (verdict.valid, verdict.error_type) == (error is None, error)
    assert bool(verdict.errors) is (error is not None)


@pytest.mark.parametrize(
    "call",
    [
        {"name": "f", "arguments": {"a": 1}},
        {"name": "f", "arguments": json.dumps({"a": 1})},
        Call("f", {"a": 1}),
        {"f": {"a": 1}},
    ],
)
def test_forms_of_calls(call):
    assert check_calls(TWO, [call], {"id": "x", "ground_truth": ONE}, "simple").valid
    assert not check_calls(TWO, [call], [{"f": {"a": [2]}}], "simple").valid


def test_arguments_that_are_no_json():
    verdict = check_calls(TWO, [{"name": "f", "arguments": "{"}], ONE, "simple")
    assert verdict.error_type == "ast_decoder:decoder_wrong_output_format"


def test_names_with_underscores():
    truth = [{"g.h": {"a": [2]}}]
    calls = [{"g_h": {"a": 2}}]
    assert check_calls(TWO, calls, truth, "multiple", underscores=True).valid
    assert not check_calls(TWO, calls, truth, "multiple").valid
    assert not check_calls(TWO, [{"g.h": {"a": 2}}], truth, "multiple", underscores=True).valid


@pytest.mark.parametrize("name", ["simple_java", "simple_javascript", "java"])
def test_other_languages_are_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"{name}: answers in Java"):
        check_calls(TWO, [], ONE, name)


@pytest.mark.parametrize("name", ["multi_turn_base", "memory_kv", "web_search_base"])
def test_several_turns_are_refused(name):
    with pytest.raises(ConfigError, match="only single turns"):
        check_calls(TWO, [], ONE, name)


@pytest.mark.parametrize(
    ("functions", "truth", "category"),
    [
        (TWO, ONE, "nonsense"),
        (TWO, [], "simple"),
        (TWO, "f", "simple"),
        (TWO, [{"unknown": {}}], "multiple"),
        ([function(a="map")], [{"f": {"a": [1]}}], "simple"),
        ([function(a="array")], [{"f": {"a": [1]}}], "simple"),
    ],
)
def test_what_no_answer_can_be_checked_by(functions, truth, category):
    with pytest.raises(ConfigError):
        check_calls(functions, [{"f": {"a": 1}}], truth, category)


def test_categories():
    assert [name for name, each in CATEGORIES.items() if not each.has_truth] == [
        "irrelevance",
        "live_irrelevance",
        "live_relevance",
    ]
    assert all(each.live is name.startswith("live_") for name, each in CATEGORIES.items())

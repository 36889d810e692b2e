"""Rows of every format become the same kind of example; what is of no format is refused."""

import json

import pytest
from project import ROOT
from tool_data import tool, xlam

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.toolcalls.check import check_example
from mlx_probe.lab.data.toolcalls.example import Rejected
from mlx_probe.lab.data.toolcalls.formats import FORMATS, Context, format_of_row
from mlx_probe.lab.data.toolcalls.formats.python_types import is_optional, schema_of_type

WEATHER = tool("weather", {"city": {"type": "string"}, "days": {"type": "integer"}}, ["city"])
WRAPPED = {"type": "function", "function": WEATHER}
PARIS, ROME = ({"name": "weather", "arguments": {"city": city}} for city in ("Paris", "Rome"))
USER = {"role": "user", "content": "Weather?"}


def called(*calls, text=""):
    written = [{"type": "function", "function": call} for call in calls]
    return {"role": "assistant", "content": text, "tool_calls": written}


def texts(call):
    return {"function": {**call, "arguments": json.dumps(call["arguments"])}, "id": "c1"}


ROWS = {
    "xlam": (
        {
            **{"id": 7, "query": "Weather?", "answers": json.dumps([PARIS, ROME])},
            "tools": json.dumps([{**WEATHER, "parameters": {"city": {"type": "str"}}}]),
        },
        [USER, called(PARIS, ROME)],
    ),
    "sharegpt": (
        {
            "conversations": [
                {"from": "human", "value": "Weather?"},
                {"from": "function_call", "value": json.dumps(PARIS)},
                {"from": "function_call", "value": json.dumps([ROME])},
                {"from": "observation", "value": "sun"},
                {"from": "gpt", "value": "Sun."},
            ],
            "tools": json.dumps([WEATHER]),
        },
        [
            *(USER, called(PARIS, ROME), {"role": "tool", "content": "sun"}),
            {"role": "assistant", "content": "Sun."},
        ],
    ),
    "sharegpt, as Hermes": (
        {
            "conversations": [
                {"from": "system", "value": "You call."},
                {"from": "human", "value": "Weather?"},
                {"from": "gpt", "value": f"I ask.\n<tool_call>\n{json.dumps(PARIS)}\n</tool_call>"},
                {"from": "tool", "value": "<tool_response>\nsun\n</tool_response>"},
            ],
            "tools": [WRAPPED],
        },
        [
            *({"role": "system", "content": "You call."}, USER, called(PARIS, text="I ask.")),
            {"role": "tool", "content": "sun"},
        ],
    ),
    "openai": (
        {
            "messages": [
                {"role": "developer", "content": "You call."},
                {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
                {"role": "assistant", "content": None, "tool_calls": [texts(PARIS)]},
                {"role": "tool", "tool_call_id": "c1", "content": "sun"},
            ],
            "tools": [WRAPPED],
        },
        [
            {"role": "system", "content": "You call."},
            USER,
            {
                **{"role": "assistant", "content": ""},
                "tool_calls": [{"type": "function", "function": PARIS, "id": "c1"}],
            },
            {"role": "tool", "content": "sun", "tool_call_id": "c1"},
        ],
    ),
    "openai, functions": (
        {
            "messages": [USER, {"role": "assistant", "function_call": texts(PARIS)["function"]}],
            "functions": [WEATHER],
        },
        [USER, called(PARIS)],
    ),
    "prepared": (
        {"id": "a", "messages": [USER, called(PARIS)], "tools": [WRAPPED], "source": "here"},
        [USER, called(PARIS)],
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_row_becomes_messages(case, tmp_path):
    name = case.split(",")[0]
    row, messages = ROWS[case]
    assert format_of_row(row, "rows") == name
    example = check_example(FORMATS[name].convert(row, Context(tmp_path)), "")
    assert example.messages == messages
    assert [tool["function"]["name"] for tool in example.tools] == ["weather"]


@pytest.mark.parametrize(
    "row",
    [{}, {"text": "To be"}, {"instruction": "a", "output": "b"}, {"messages": []}, {"tools": []}],
    ids=str,
)
def test_another_format_is_refused_by_its_keys(row):
    with pytest.raises(SourceError, match="no known format has\n  Give data of one of xlam, ") as e:
        format_of_row(row, "rows.jsonl")
    assert all(key in e.value.fact for key in row)


def test_no_row_has_two_formats():
    for row, _ in ROWS.values():
        assert sum(form.fits(row) for form in FORMATS.values()) == 1


BROKEN = {
    "tools are no JSON": ("xlam", xlam(1, tools="[{"), "broken tools"),
    "tools are a number": ("xlam", xlam(1, tools="3"), "broken tools"),
    "a tool is text": ("xlam", xlam(1, tools='["x"]'), "broken tools"),
    "parameters are a list": ("xlam", xlam(1, tools='[{"parameters": []}]'), "broken tools"),
    "answers are no JSON": ("xlam", xlam(1, answers="[{"), "malformed call"),
    "answers are no calls": ("xlam", xlam(1, answers='[{"x": 1}]'), "malformed call"),
    "nothing is called": ("xlam", xlam(1, answers="[]"), "no answer"),
    "a query that is no text": ("xlam", xlam(1, query=None), "no messages"),
    "a strange speaker": (
        "sharegpt",
        {"conversations": [{"from": "cat", "value": ""}], "tools": ""},
        "unknown role",
    ),
    "conversations that are text": ("sharegpt", {"conversations": "x", "tools": ""}, "no messages"),
    "a value that is a number": (
        "sharegpt",
        {"conversations": [{"from": "gpt", "value": 1}], "tools": ""},
        "no messages",
    ),
    "a call that is no JSON": (
        "sharegpt",
        {"conversations": [{"from": "function_call", "value": "f(1)"}], "tools": ""},
        "malformed call",
    ),
    "a block that is no call": (
        "sharegpt",
        {"conversations": [{"from": "gpt", "value": "<tool_call>f</tool_call>"}], "tools": ""},
        "malformed call",
    ),
    "messages that are text": ("openai", {"messages": "x", "tools": []}, "no messages"),
    "a picture": (
        "openai",
        {"messages": [{"role": "user", "content": [{"image_url": "x"}]}], "tools": []},
        "no messages",
    ),
    "arguments that are no JSON": (
        "openai",
        {
            "messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}],
            "tools": [],
        },
        "malformed call",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_a_row_lacks_is_named(case, tmp_path):
    name, row, reason = BROKEN[case]
    with pytest.raises(Rejected) as error:
        FORMATS[name].convert(row, Context(tmp_path))
    assert error.value.reason == reason


def test_a_question_without_a_call_gets_the_given_answer(tmp_path):
    example = FORMATS["xlam"].convert(xlam(1, answers="[]"), Context(tmp_path, "None fits."))
    assert example.messages[-1] == {"role": "assistant", "content": "None fits."}


TYPES = {
    "str": {"type": "string"},
    "int, optional": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "List[int]": {"type": "array", "items": {"type": "integer"}},
    "list": {"type": "array"},
    "Dict[str, Any]": {"type": "object"},
    "List[Union[int, float]]": {
        "type": "array",
        "items": {"anyOf": [{"type": "integer"}, {"type": "number"}]},
    },
    "Optional[str]": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "int | None": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "typing.List[typing.Tuple[int, int]]": {
        "type": "array",
        "items": {"type": "array", "items": {"type": "integer"}},
    },
    "Literal['a', 'b']": {"enum": ["a", "b"]},
    "set": {"type": "array"},
    "Any": {},
    "List[Any]": {"type": "array"},
    "string": {"type": "string"},
    "": {},
}


@pytest.mark.parametrize("text", TYPES)
def test_types_of_python(text):
    unknown = {}
    assert schema_of_type(text, unknown) == TYPES[text]
    assert not unknown
    assert is_optional(text) == ("ptional" in text)


@pytest.mark.parametrize("text", ["Callable", "Callable[[float], float]", "List[", "a b", "]" * 99])
def test_types_that_nobody_knows_allow_anything_and_are_counted(text):
    unknown = {}
    assert schema_of_type(text, unknown) in ({}, {"type": "array"})
    assert unknown or text == "List["


def test_the_page_has_every_format():
    for language in ("en", "zh"):
        page = (ROOT / "docs" / language / "toolcalls.md").read_text("utf-8")
        for name in FORMATS:
            assert f"| `{name}` | " in page
    page = (ROOT / "docs" / "en" / "toolcalls.md").read_text("utf-8")
    for name, form in FORMATS.items():
        assert f"| `{name}` | {form.title} | {form.about} |" in page

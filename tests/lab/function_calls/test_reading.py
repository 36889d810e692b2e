"""Calls in answers of every form that models write, and what is none."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.function_calls.reading import read_answer

PARIS = Call("weather", {"city": "Paris"})
ROME = Call("weather", {"city": "Rome"})
ONE = '{"name": "weather", "arguments": {"city": "Paris"}}'
TWO = '{"name": "weather", "arguments": {"city": "Rome"}}'
TEXT = json.dumps('{"city": "Paris"}')

READ = {
    "object": (ONE, [PARIS], ""),
    "parameters, as Llama 3": ('{"name": "weather", "parameters": {"city": "Paris"}}', [PARIS], ""),
    "arguments first": ('{"arguments": {"city": "Paris"}, "name": "weather"}', [PARIS], ""),
    "arguments as a string": (f'{{"name": "weather", "arguments": {TEXT}}}', [PARIS], ""),
    "arguments as no string": ('{"name": "now", "arguments": ""}', [Call("now", {})], ""),
    "no arguments": ('{"name": "now", "arguments": {}}', [Call("now", {})], ""),
    "function, as OpenAI": (
        f'{{"id": "1", "type": "function", "function": {ONE}}}',
        [PARIS],
        "",
    ),
    "function_call": (f'{{"function_call": {ONE}}}', [PARIS], ""),
    "tool_calls": (
        f'{{"role": "assistant", "tool_calls": [{{"function": {ONE}}}, {{"function": {TWO}}}]}}',
        [PARIS, ROME],
        "",
    ),
    "array": (f"[{ONE}, {TWO}]", [PARIS, ROME], ""),
    "two objects": (f"{ONE}\n{TWO}", [PARIS, ROME], ""),
    "two objects on one line": (f"{ONE}{TWO}", [PARIS, ROME], ""),
    "two objects with a semicolon": (f"{ONE}; {TWO}", [PARIS, ROME], ";"),
    "text before": (f"I ask for it. {ONE}", [PARIS], "I ask for it."),
    "text behind": (f"{ONE} Done.", [PARIS], "Done."),
    "fence": (f"```json\n{ONE}\n```", [PARIS], ""),
    "fence in text": (f"So:\n```\n{ONE}\n```\nDone", [PARIS], "So:\n\n\n\nDone"),
    "block": (f"<tool_call>\n{ONE}\n</tool_call>", [PARIS], ""),
    "blocks": (
        f"Both.\n<tool_call>{ONE}</tool_call>\n<tool_call>{TWO}</tool_call>",
        [PARIS, ROME],
        "Both.",
    ),
    "block without an end": (f"<tool_call>\n{ONE}", [PARIS], ""),
    "two in a block": (f"<tool_call>\n{ONE}\n{TWO}\n</tool_call>", [PARIS, ROME], ""),
    "array in a block": (f"<tool_call>[{ONE}, {TWO}]</tool_call>", [PARIS, ROME], ""),
    "template's tokens": (f"<|python_tag|>{ONE}<|im_end|>", [PARIS], ""),
    "Mistral": (f"[TOOL_CALLS] [{ONE}]", [PARIS], ""),
    "thinking": (f"<think>{TWO} or not?</think>\n{ONE}", [PARIS], ""),
    "thinking that the template began": (f"{TWO} or not?</think>\n{ONE}", [PARIS], ""),
    "thinking in between": (f"{ONE}<think>and</think>{TWO}", [PARIS, ROME], ""),
    "only thinking": (f"<think>{ONE}", [], ""),
    "braces in a string": (
        '{"name": "say", "arguments": {"text": "}{ ] [ \\" {\\"name\\": 1}"}}',
        [Call("say", {"text": '}{ ] [ " {"name": 1}'})],
        "",
    ),
    "tags in a string": (
        '{"name": "say", "arguments": {"text": "</think></tool_call>```<tool_call>"}}',
        [Call("say", {"text": "</think></tool_call>```<tool_call>"})],
        "",
    ),
    "nested": (
        '{"name": "f", "arguments": {"a": {"b": [{"c": null}], "name": "x"}}}',
        [Call("f", {"a": {"b": [{"c": None}], "name": "x"}})],
        "",
    ),
    "data": ('{"name": "Ann", "age": 3}', [], '{"name": "Ann", "age": 3}'),
    "the description of a function": (
        '{"name": "f", "description": "Does it.", "parameters": {"type": "object"}}',
        [],
        '{"name": "f", "description": "Does it.", "parameters": {"type": "object"}}',
    ),
    "a call inside data": (f'{{"seen": [{ONE}]}}', [], f'{{"seen": [{ONE}]}}'),
    "numbers": ("[1, 2]", [], "[1, 2]"),
    "empty array": ("[]", [], "[]"),
    "text": ("It is {warm} in [Paris](p) today: f(x) = x.", [], None),
    "nothing": ("", [], ""),
    "Python": ("[weather(city='Paris')]", [PARIS], ""),
    "two in Python": (
        "[f(a=1), g(b=[1,2])]",
        [Call("f", {"a": 1}), Call("g", {"b": [1, 2]})],
        "",
    ),
    "Python alone": ('weather(city="Paris")', [PARIS], ""),
    "Python on two lines": ('weather(city="Paris")\nweather(city="Rome")', [PARIS, ROME], ""),
    "Python in a fence": ('Do:\n```python\nweather(city="Paris")\n```', [PARIS], "Do:"),
    "Python in a block": ("<tool_call>weather(city='Paris')</tool_call>", [PARIS], ""),
    "dots": ("[math.hypot(x=-3, y=+4.5e0)]", [Call("math.hypot", {"x": -3, "y": 4.5})], ""),
    "literals": (
        "[f(a=(1, 2), b=(1), c={'k': True}, d=None, e=0x1F, g=1_000, h='a' \"b\", i=r'\\d', j=())]",
        [
            Call(
                "f",
                {
                    **{"a": [1, 2], "b": 1, "c": {"k": True}, "d": None, "e": 31, "g": 1000},
                    **{"h": "ab", "i": "\\d", "j": []},
                },
            )
        ],
        "",
    ),
    "escapes": (
        r"[f(a='it\'s\n\x41\u00e9\101\N{BULLET}\q')]",
        [Call("f", {"a": "it's\nAéA•\\q"})],
        "",
    ),
    "three quotes": ('[f(a="""x "y"\n)]""")]', [Call("f", {"a": 'x "y"\n)]'})], ""),
    "JSON's words in Python": ("[f(a=true, b=null)]", [Call("f", {"a": True, "b": None})], ""),
    "code that is text": ("print(a) and f(b=1) are calls", [], None),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_read(case):
    text, calls, beside = READ[case]
    answer = read_answer(text)
    assert list(answer.calls) == calls
    assert answer.malformed is None
    assert answer.text == (text if beside is None else beside)


MALFORMED = {
    "truncated object": ('{"name": "weather", "arguments": {"city": "Pa', 0, "ends too early"),
    "truncated behind a value": ('{"name": "weather", "arguments": {"n": 1', 0, "ends too early"),
    "truncated block": ('<tool_call>\n{"name": "weather", "argum', 0, "ends too early"),
    "truncated second": (f'{ONE}\n{{"name": "w', 1, "ends too early"),
    "truncated array": (f"[{ONE}, ", 0, "ends too early"),
    "truncated Python": ("[weather(city='Paris', n=", 0, "ends too early"),
    "broken, and a good one": (f'{{"name": weather}}\n{ONE}', 1, "broken at character 9"),
    "broken block, and a good one": (
        f"<tool_call>{{'name'</tool_call><tool_call>{ONE}</tool_call>",
        1,
        "holds no call",
    ),
    "single quotes": ("{'name': 'f', 'arguments': {}}", 0, "broken at character 1"),
    "no arguments": ('{"name": "f"}', 0, "a name and no arguments"),
    "no name": ('{"arguments": {"a": 1}}', 0, "arguments and no name"),
    "a number as name": ('{"name": 1, "arguments": {}}', 0, "no text"),
    "blank name": ('{"name": " ", "arguments": {}}', 0, "no text"),
    "arguments are a list": ('{"name": "f", "arguments": [1]}', 0, "arguments of f are no JSON"),
    "arguments are null": ('{"name": "f", "arguments": null}', 0, "arguments of f are no JSON"),
    "arguments are broken text": ('{"name": "f", "arguments": "{a"}', 0, "are a string: the JSON"),
    "arguments are more than JSON": ('{"name": "f", "arguments": "{} x"}', 0, "more than JSON"),
    "a call and a number": (f"[{ONE}, 3]", 0, "calls and other values"),
    "block of text": ("<tool_call>nothing</tool_call>", 0, "holds no call"),
    "block of data": ("<tool_call>[1]</tool_call>", 0, "holds no call"),
    "empty block": ("<tool_call></tool_call>", 0, "holds no call"),
    "NaN": ('{"name": "f", "arguments": {"a": NaN}}', 0, "NaN is no JSON value"),
    "infinity": ('{"name": "f", "arguments": {"a": 1e999}}', 0, "too large"),
    "half a surrogate pair": ('{"name": "f", "arguments": {"a": "\\ud800"}}', 0, "surrogate"),
    "deep": ('{"name": "f", "arguments": {"a": ' + "[" * 99 + "]" * 99 + "}}", 0, "deeper than 64"),
    "no name of an argument": ("[f(1)]", None, None),
    "a name as value": ("[f(a=b)]", 0, "no literal at 'b)]'"),
    "a call as value": ("[f(a=open('x'))]", 0, "no literal"),
    "a sum": ("[f(a=1+1)]", 0, ") is missing at '+1)]'"),
    "twice": ("[f(a=1, a=2)]", 0, "twice"),
    "keys": ("[f(a={1: 2})]", 0, "the key 1 is no text"),
    "huge integer": ("[f(a=" + "9" * 5000 + ")]", 0, "too large"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_malformed(case):
    text, calls, reason = MALFORMED[case]
    answer = read_answer(text)
    if reason is None:
        assert answer.malformed is None
        assert answer.text == text
        return
    assert reason in answer.malformed
    assert len(answer.calls) == calls


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab{}[]\"'\\", max_size=4), inner)
    ),
    max_leaves=12,
)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
CALLS = st.lists(
    st.builds(Call, NAMES, st.dictionaries(NAMES, VALUES, max_size=4)), min_size=1, max_size=3
)


def as_json(call):
    return json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)


def as_python(call):
    arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
    return f"{call.name}({arguments})"


WRITTEN = {
    "lines": lambda calls: "\n".join(map(as_json, calls)),
    "array": lambda calls: f"[{', '.join(map(as_json, calls))}]",
    "blocks": lambda calls: "".join(f"<tool_call>{as_json(c)}</tool_call>\n" for c in calls),
    "fence": lambda calls: "```json\n" + "\n".join(map(as_json, calls)) + "\n```",
    "python": lambda calls: f"[{', '.join(map(as_python, calls))}]",
    "python alone": lambda calls: "\n".join(map(as_python, calls)),
}


@pytest.mark.parametrize("form", WRITTEN)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(calls=CALLS)
def test_what_was_written_is_read(form, calls):
    text = WRITTEN[form](calls)
    answer = read_answer(text)
    assert (list(answer.calls), answer.malformed) == (calls, None)
    assert repr(answer.calls) == repr(tuple(calls))  # 1 is not True, and not 1.0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text())
def test_any_text_is_read(text):
    read_answer(text)


PIECES = (
    *("{", "[", "}", "]", '"', "'", ",", ":", "(", ")", "=", "\\", "\n", "f(", "f(a=", "a.", "1"),
    *('{"name": ', '"arguments": ', "<tool_call>", "</tool_call>", "<think>", "</think>", "```"),
    *('"""', "[f(a=", '[f(a="""', "\n[", '\n{"name": x', "[ ", '{"name": "f", "arguments": {}}'),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_pieces_are_read(text):
    read_answer(text)


@pytest.mark.parametrize(
    "piece", [*PIECES, "[1,", '{"a":', '<tool_call>{"name": ', "[f(a='''", "-"]
)
def test_a_megabyte_is_read_soon(piece):
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    for hostile in (text, f"[f(a={text}", f'{{"name": "f", "arguments": {{"a": {text}'):
        read_answer(hostile)
    assert time.process_time() - start < 5

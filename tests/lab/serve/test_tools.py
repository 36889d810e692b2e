"""Calls that a model writes as plain text come as tool calls, and text as it was."""

import json
from dataclasses import dataclass, replace

import pytest
from served import USER, ask
from tiny_llm import make_model

from mlx_probe.lab.data.tokenizer import load_tokenizer
from mlx_probe.lab.serve import watched
from mlx_probe.lab.serve.tool_text import START, STOP, marked_calls, parse_call

CALL = '{"name": "add", "arguments": {"a": 1, "b": "é"}}'


@dataclass(frozen=True)
class Piece:
    text: str
    finish_reason: str | None = None


def pieces(text, reason="stop", size=3):
    cut = [text[at : at + size] for at in range(0, len(text), size)]
    return [*map(Piece, cut), Piece("", reason)]


def marked(given):
    found = list(marked_calls(iter(given)))
    # Each is a token.
    assert len(found) == len(given)
    assert [one.finish_reason for one in found] == [one.finish_reason for one in given]
    return found


@pytest.mark.parametrize("text", ["It is 4.", "  Well {", "\n\nfour", "", "x" * 50])
def test_text_comes_as_it_is_made(text):
    found = marked(pieces(text))
    assert "".join(one.text for one in found) == text


def test_text_is_not_held_back():
    given = iter([Piece("Four"), Piece(" is")])
    found = marked_calls(given)
    assert next(found).text == "Four"
    assert next(given).text == " is"


@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize(
    ("text", "count"),
    [
        (CALL, 1),
        (f"\n {CALL}", 1),
        (f"[{CALL}, {CALL}]", 2),
        (f"{CALL}\n{CALL}", 2),
        (f"```json\n{CALL}\n```", 1),
        ('<tool_call>{"name": "add", "arguments": {}}</tool_call>', 1),
    ],
)
def test_calls_are_put_between_marks(text, count, reason):
    found = "".join(one.text for one in marked(pieces(text, reason)))
    calls = [part.partition(STOP)[0] for part in found.split(START)[1:]]
    assert len(calls) == count
    for call in calls:
        assert parse_call(call)["name"] == "add"
    if '"b"' in text:
        assert json.loads(calls[0]) == json.loads(CALL)


@pytest.mark.parametrize("text", ['{"name": "add", "argum', '{"a": 1}', "[1, 2]", "{", "<b>x</b>"])
def test_what_is_no_call_stays_text(text):
    assert "".join(one.text for one in marked(pieces(text, "length"))) == text


def test_a_served_model_that_writes_calls(serving, tiny, tmp_path, monkeypatch):
    """The model's tokens are replaced by those of a call: mlx-lm's handler makes a tool call."""
    real = watched.Watched._measured

    def calling(self, responses):
        for number, response in enumerate(real(self, responses)):
            at = number * 20
            yield replace(response, text=CALL[at : at + 20])

    monkeypatch.setattr(watched.Watched, "_measured", calling)
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    asked = {"messages": USER, "tools": tools, "max_tokens": 8, "logit_bias": {"0": 0.0}}
    model = make_model(tmp_path / "model", load_tokenizer(tiny.tokenizer), context=256)
    with serving(model) as server:
        status, _, answer = ask(server, **asked)
        assert status == 200, answer
        (call,) = answer["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] == "add"
        assert json.loads(call["function"]["arguments"]) == {"a": 1, "b": "é"}
        _, _, text = ask(server, stream=True, **asked)
        assert '"tool_calls": [{"function": {"name": "add"' in text
        # Without tools the same text is text.
        _, _, answer = ask(server, **{**asked, "tools": None})
        assert answer["choices"][0]["message"]["content"].startswith('{"name": "add"')

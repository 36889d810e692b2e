"""Tools and calls reach the model, whether its template names them or not."""

import json

import pytest

from mlx_probe.lab.conversation import calls_text, conversation_text, with_tools_written_out
from mlx_probe.lab.data.tokenizer import load_tokenizer
from mlx_probe.lab.data.tokenizer.chat import CHATML

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
MESSAGES = [
    {"role": "system", "content": "Call tools."},
    {"role": "user", "content": "1 and 2?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]},
]
KNOWS = "{{ tools | tojson }}{% for m in messages %}{{ m.tool_calls | tojson }}{% endfor %}"
ANSWER = '{"name": "add", "arguments": {"a": 1}}'


def test_a_template_without_tools():
    written, rest = with_tools_written_out(CHATML, MESSAGES, [TOOL])
    assert rest == ()
    assert written[0]["content"] == f"Call tools.\n\nTools:\n{json.dumps(TOOL['function'])}"
    assert written[2] == {"role": "assistant", "content": f"{ANSWER}\n{ANSWER}"}


def test_a_conversation_without_a_system_message_gets_one():
    written, _ = with_tools_written_out(CHATML, MESSAGES[1:2], [TOOL])
    assert [message["role"] for message in written] == ["system", "user"]


def test_a_template_with_tools_gets_them_as_objects():
    written, rest = with_tools_written_out(KNOWS, MESSAGES, [TOOL])
    assert rest == [TOOL]
    assert written[0]["content"] == "Call tools."
    assert written[2]["tool_calls"][0]["function"]["arguments"] == {"a": 1}


@pytest.mark.parametrize("prompt", [True, False])
def test_the_text(tiny, tmp_path, prompt):
    tokenizer = load_tokenizer(tiny.tokenizer)
    text = conversation_text(tokenizer, MESSAGES[:2], [TOOL], prompt)
    assert '{"name": "add", "parameters"' in text
    assert text.endswith("<|im_start|>assistant\n") == prompt


def test_arguments_that_are_no_json_stay_text():
    assert calls_text([{"name": "f", "arguments": "{"}]) == '{"name": "f", "arguments": "{"}'

"""OpenAI's form: `messages` with `tool_calls`, and `tools` or `functions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.lab.data.toolcalls.example import Example, Rejected
from mlx_probe.lab.data.toolcalls.formats.messages import calls_in, parsed, spoken_message, tools_in
from mlx_probe.lab.data.toolcalls.formats.protocol import Context, Format

__all__ = ["OPENAI", "convert"]

_ROLES = {"developer": "system", "function": "tool"}


def _fits(row: Mapping[str, Any]) -> bool:
    return "messages" in row and ("tools" in row or "functions" in row) and "source" not in row


def convert(row: Mapping[str, Any], context: Context) -> Example:
    """The example of a row.

    Raises:
        Rejected: Its messages or tools are something else.
    """
    messages = parsed(row.get("messages"), "messages", "no messages")
    if not isinstance(messages, list) or not all(isinstance(m, Mapping) for m in messages):
        raise Rejected("no messages", "messages is no list of objects")
    tools = row.get("tools")
    return Example(
        str(row.get("id", "")),
        [_message(message) for message in messages],
        tools_in(row.get("functions") if tools is None else tools),
    )


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    role = str(message.get("role", ""))
    text = _text(message.get("content"))
    calls = message.get("tool_calls")
    if calls is None and message.get("function_call") is not None:
        calls = [message["function_call"]]
    plain: dict[str, Any] = {"role": _ROLES.get(role, role), "content": text}
    if role == "assistant" and not calls:
        return spoken_message(text)
    if calls:
        written = calls_in(calls, "tool_calls")
        given = parsed(calls, "tool_calls", "malformed call")
        for call, original in zip(written, given, strict=False):
            if isinstance(original, Mapping) and isinstance(original.get("id"), str):
                call["id"] = original["id"]
        plain["tool_calls"] = written
    for key in ("name", "tool_call_id"):
        if role in ("tool", "function") and isinstance(message.get(key), str):
            plain[key] = message[key]
    return plain


def _text(content: Any) -> str:
    """The text of a content: a string, none, or OpenAI's list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    raise Rejected("no messages", "a message's content is no text")


OPENAI = Format(
    title="OpenAI's chat messages",
    about="`messages` (with `tool_calls`, or the older `function_call`) and `tools` or `functions`",
    fits=_fits,
    convert=convert,
)

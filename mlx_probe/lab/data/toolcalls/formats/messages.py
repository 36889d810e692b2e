"""What formats have in common: JSON in strings, tools in OpenAI's form, calls as messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mlx_probe.lab.data.toolcalls.example import Rejected
from mlx_probe.lab.function_calls.call import UnreadableError
from mlx_probe.lab.function_calls.json_calls import calls_of
from mlx_probe.lab.function_calls.reading import read_answer

__all__ = ["call_message", "calls_in", "parsed", "spoken_message", "tools_in"]


def parsed(value: Any, what: str, reason: str) -> Any:
    """A value that may be written as JSON in a string.

    Raises:
        Rejected: The string is no JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Rejected(reason, f"{what} is no JSON: {error}") from None


def tools_in(value: Any) -> list[dict[str, Any]]:
    """Functions in OpenAI's form, from a list of them with or without its wrapping, or its JSON.

    Raises:
        Rejected: It is something else.
    """
    tools = parsed(value, "tools", "broken tools")
    if tools is None or tools == "":
        return []
    if isinstance(tools, Mapping):
        tools = [tools]
    if not isinstance(tools, list):
        raise Rejected("broken tools", "tools is no list")
    functions = []
    for tool in tools:
        tool = parsed(tool, "a tool", "broken tools")
        function = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping):
            raise Rejected("broken tools", "a tool is no object")
        kept = {
            key: function[key] for key in ("name", "description", "parameters") if key in function
        }
        functions.append({"type": "function", "function": kept})
    return functions


def calls_in(value: Any, what: str) -> list[dict[str, Any]]:
    """Calls in OpenAI's form, from any form that `calls_of` reads, or its JSON.

    Raises:
        Rejected: It is something else.
    """
    value = parsed(value, what, "malformed call")
    if value == []:
        return []
    try:
        calls = calls_of(value)
    except UnreadableError as error:
        raise Rejected("malformed call", f"{what}: {error}") from None
    if calls is None:
        raise Rejected("malformed call", f"{what} holds no call")
    return [_written(call.name, call.arguments) for call in calls]


def call_message(calls: Iterable[Mapping[str, Any]], text: str = "") -> dict[str, Any]:
    """The message of an assistant that calls."""
    return {"role": "assistant", "content": text, "tool_calls": list(calls)}


def spoken_message(text: str) -> dict[str, Any]:
    """The message of an assistant whose calls are in <tool_call> blocks of its text, or none.

    Raises:
        Rejected: A block holds no call.
    """
    if "<tool_call>" not in text:
        return {"role": "assistant", "content": text}
    answer = read_answer(text)
    if answer.malformed is not None:
        raise Rejected("malformed call", answer.malformed)
    return call_message([_written(call.name, call.arguments) for call in answer.calls], answer.text)


def _written(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": dict(arguments)}}

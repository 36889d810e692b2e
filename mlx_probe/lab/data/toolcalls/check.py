"""What an example must hold before anything learns from it."""

from __future__ import annotations

from typing import Any

from mlx_probe.lab.data.toolcalls.example import Example, Rejected
from mlx_probe.lab.function_calls.schema import ProblemKind, argument_problems

__all__ = ["check_example"]

_ROLES = ("system", "user", "assistant", "tool")
_REASONS: dict[ProblemKind, str] = {
    "missing": "missing argument",
    "unknown": "unknown argument",
    "type": "wrong type",
    "value": "wrong value",
    "schema": "broken schema",
}


def check_example(example: Example, system: str) -> Example:
    """The example with a system prompt, equal tools once.

    Args:
        example: As its format gave it.
        system: The prompt if it has none of its own; "" for none.

    Raises:
        Rejected: A role, tool or call does not hold; the first reason counts.
    """
    messages = list(example.messages)
    for message in messages:
        if message["role"] not in _ROLES:
            raise Rejected("unknown role", f"a message has the role {message['role']!r}")
        if not isinstance(message["content"], str):
            raise Rejected("no messages", "a message's content is no text")
    if not any(message["role"] == "user" for message in messages):
        raise Rejected("no messages", "no message is the user's")
    answers = [message for message in messages if message["role"] == "assistant"]
    if not any(message["content"] or message.get("tool_calls") for message in answers):
        raise Rejected("no answer", "no message is the assistant's")
    functions = _functions(example)
    for call in example.calls():
        if call["name"] not in functions:
            raise Rejected("unknown function", f"{call['name']} is called, and no tool is it")
        problems = argument_problems(functions[call["name"]], call["arguments"])
        if problems:
            raise Rejected(_REASONS[problems[0].kind], f"{call['name']}: {problems[0].text}")
    if system and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    tools = [{"type": "function", "function": function} for function in functions.values()]
    return Example(example.id, messages, tools)


def _functions(example: Example) -> dict[str, dict[str, Any]]:
    functions: dict[str, dict[str, Any]] = {}
    for tool in example.tools:
        function = tool["function"]
        name = function.get("name")
        if not isinstance(name, str) or not name:
            raise Rejected("broken tools", "a tool has no name")
        if functions.setdefault(name, function) != function:
            raise Rejected("broken tools", f"two different tools are called {name}")
        parameters = function.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            raise Rejected("broken schema", f"{name}: the parameters are no JSON object")
    return functions

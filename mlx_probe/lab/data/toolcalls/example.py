"""One example: a conversation, and the functions that it may call."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = ["REASONS", "Example", "Rejected", "called_names", "function_key"]

# Why an example is left out, in the order in which it is shown.
REASONS = (
    *("broken line", "other format", "no messages", "unknown role", "no answer"),
    *("broken tools", "malformed call", "unknown function", "missing argument"),
    *("unknown argument", "wrong type", "wrong value", "broken schema", "duplicate"),
    *("template", "too long"),
)


@dataclass(frozen=True)
class Example:
    """A conversation with functions.

    Attributes:
        id: Its name in the data set; "" if it has none.
        messages: Each with "role" ("system", "user", "assistant" or "tool") and "content", an
            assistant's with "tool_calls" where it calls.
        tools: Functions in OpenAI's form, {"type": "function", "function": {...}}.
    """

    id: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]

    def calls(self) -> list[dict[str, Any]]:
        """What is called: each with "name" and "arguments"."""
        return [
            call["function"] for message in self.messages for call in message.get("tool_calls", ())
        ]

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes that say whether two examples are equal, whatever their names."""
        return _digest([self.messages, self.tools])[:16]


class Rejected(Exception):  # noqa: N818  an example that does not hold, not a failure
    """An example that is left out.

    Args:
        reason: One of `REASONS`.
        text: What is wrong.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason, self.text = reason, text


def function_key(function: Mapping[str, Any]) -> bytes:
    """16 bytes that say whether two functions are the same: name and schema, not the wording."""
    return _digest([function["name"], _without_wording(function.get("parameters"))])[:16]


def called_names(example: Example) -> set[str]:
    """Names of the functions that an example calls."""
    return {call["name"] for call in example.calls()}


def _digest(value: Any) -> bytes:
    # Half a surrogate pair may be inside: ASCII writes it as an escape.
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()


def _without_wording(schema: Any) -> Any:
    if isinstance(schema, dict):
        # A parameter may be called "description": its value is a schema, no text.
        return {
            key: _without_wording(value)
            for key, value in schema.items()
            if not (key in ("description", "title") and isinstance(value, str))
        }
    if isinstance(schema, list):
        return [_without_wording(value) for value in schema]
    return schema

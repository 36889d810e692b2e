"""A function call, and an answer that may hold several."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "Call", "UnreadableError", "checked_call"]

# Deeper values are no arguments that anyone means, and whoever walks them runs out of stack.
_DEEPEST = 64
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Call:
    """One call of a function.

    Attributes:
        name: Name of the function, with dots where it has some.
        arguments: Its arguments by name: JSON values, which means lists and no tuples.
    """

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a model answered.

    Attributes:
        calls: Every call that could be read, in the order of the text.
        text: What stands beside the calls; thinking left out.
        malformed: Why the first thing that was meant as a call could not be read; None if nothing.
    """

    calls: tuple[Call, ...]
    text: str
    malformed: str | None


class UnreadableError(ValueError):
    """Something was meant as a call, and is none; says why.

    Attributes:
        at: Up to where it was read; None if that is not known.
    """

    at: int | None = None


def checked_call(name: Any, arguments: Any) -> Call:
    """A call of values that JSON or Python syntax gave.

    Raises:
        UnreadableError: The name is no text, or the arguments are no JSON object.
    """
    if not isinstance(name, str) or not name.strip():
        raise UnreadableError("the name of the function is no text")
    if not isinstance(arguments, Mapping):
        raise UnreadableError(f"the arguments of {name} are no JSON object")
    # One level after the other: a recursive walk could run out of stack before it says so.
    level: list[Any] = [name, arguments]
    for _ in range(_DEEPEST):
        if not level:
            return Call(name.strip(), arguments)
        below: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                below += [*value, *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and _SURROGATE.search(value):
                raise UnreadableError(f"the call of {name!a} holds half a surrogate pair")
        level = below
    raise UnreadableError(f"the arguments of {name} nest deeper than {_DEEPEST} levels")

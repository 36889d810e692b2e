"""An answer that the accepted values describe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["sample_calls"]

# One of several accepted values, by its number.
Choose = Callable[[int], int]


def sample_calls(
    accepted: Sequence[Mapping[str, Mapping[str, Any]]], choose: Choose = lambda count: 0
) -> list[dict[str, dict[str, Any]]]:
    """Calls whose arguments are accepted values.

    Args:
        accepted: BFCL's "ground_truth".
        choose: Takes how many values are accepted, and returns which one is taken: the first
            one. Arguments that may be left out are, if "" is taken.
    """
    return [
        {name: _values(arguments, choose) for name, arguments in call.items()} for call in accepted
    ]


def _values(arguments: Mapping[str, Any], choose: Choose) -> dict[str, Any]:
    values = {}
    for name, choices in arguments.items():
        if not isinstance(choices, list):
            values[name] = choices
            continue
        if not choices:
            continue
        value = choices[choose(len(choices))]
        if value == "" and len(choices) > 1 and choose(2) == 0:
            # "" says that the argument may be left out; texts may be empty, too.
            value = next((choice for choice in choices if choice != ""), "")
        if value != "":
            values[name] = _inside(value, choose)
    return values


def _inside(value: Any, choose: Choose) -> Any:
    """Dictionaries hold accepted values of each key."""
    if isinstance(value, dict):
        return _values(value, choose)
    if isinstance(value, list):
        return [_inside(each, choose) for each in value]
    return value

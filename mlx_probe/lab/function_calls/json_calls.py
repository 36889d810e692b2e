"""The calls in a JSON value, in the forms that models and interfaces write."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mlx_probe.lab.function_calls.call import Call, UnreadableError, checked_call

__all__ = ["calls_of", "decode", "looks_like_call"]

# The key of the arguments: OpenAI's and Hermes', then Llama 3's.
_ARGUMENTS = ("arguments", "parameters")
_BESIDE = {"name", "id", "type", "index", *_ARGUMENTS}
_LISTS = ("tool_calls", "function_calls")
_ONE = ("function", "function_call", "tool_call")
_BEGINS = re.compile(
    r"[\[\s]*\{\s*['\"]?(?:name|function|function_call|tool_call|tool_calls|function_calls"
    r"|arguments|parameters|type['\"]?\s*:\s*['\"]function)['\"]?\s*[:,]"
)
_BLANK = re.compile(r"\s*")


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise UnreadableError("a number is too large")
    return value


def _constant(text: str) -> float:
    raise UnreadableError(f"{text} is no JSON value")


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_constant)


def decode(text: str, start: int) -> tuple[Any, int]:
    """The JSON value at a position, and where it ends.

    Raises:
        UnreadableError: It is broken or nests too deeply.
    """
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        rest = _BLANK.match(text, error.pos)
        if error.msg.startswith("Unterminated") or (rest and rest.end() == len(text)):
            broken = UnreadableError("the JSON ends too early")
        else:
            broken = UnreadableError(
                f"the JSON is broken at character {error.pos - start}: {error.msg}"
            )
        broken.at = error.pos
        raise broken from None
    except RecursionError:
        raise UnreadableError("the JSON nests too deeply") from None
    except UnreadableError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise UnreadableError("a number is too large") from error


def looks_like_call(text: str, start: int) -> bool:
    """Whether what begins at a position, readable or not, is meant as a call."""
    return _BEGINS.match(text, start) is not None


def calls_of(value: Any) -> list[Call] | None:
    """The calls that a JSON value is; None if it is other data.

    Read are ``{"name", "arguments"}`` (also ``parameters``; the arguments an object, or its JSON
    as a string, as OpenAI writes them), ``{"function": {...}}``, ``{"function_call": {...}}``,
    ``{"tool_calls": [...]}`` and arrays of these.

    Raises:
        UnreadableError: It is meant as a call, and is none.
    """
    if isinstance(value, list):
        return _of_array(value)
    if not isinstance(value, dict):
        return None
    for key in _LISTS:
        if isinstance(value.get(key), list):
            return _of_array(value[key])
    for key in _ONE:
        if isinstance(value.get(key), dict):
            return calls_of(value[key])
    given = [key for key in _ARGUMENTS if key in value]
    if given == ["parameters"] and not value.keys() <= _BESIDE:
        return None  # the description of a function, which small models like to repeat
    if "name" in value and given:
        return [_call(value["name"], value[given[0]])]
    if "name" in value and value.keys() <= _BESIDE:
        raise UnreadableError("the call has a name and no arguments")
    if given and value.keys() <= _BESIDE:
        raise UnreadableError("the call has arguments and no name")
    return None


def _of_array(values: list[Any]) -> list[Call] | None:
    found = [calls_of(value) for value in values if not isinstance(value, list)]
    calls = [call for some in found for call in some or ()]
    if calls and (None in found or len(found) < len(values)):
        raise UnreadableError("an array holds calls and other values")
    return calls or None


def _call(name: Any, arguments: Any) -> Call:
    if isinstance(arguments, str):
        text = arguments.strip()
        if not text:  # how OpenAI's interface says that there are none
            return checked_call(name, {})
        try:
            arguments, end = decode(text, 0)
        except UnreadableError as error:
            raise UnreadableError(f"the arguments of {name} are a string: {error}") from None
        if end != len(text):
            raise UnreadableError(f"the arguments of {name} are a string that is more than JSON")
    if isinstance(arguments, Mapping) and "" in arguments:
        raise UnreadableError(f"an argument of {name} has no name")
    return checked_call(name, arguments)

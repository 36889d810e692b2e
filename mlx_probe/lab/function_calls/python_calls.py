"""Calls in Python's syntax, as Llama and BFCL write them: ``[f(a=1), g(b=[1, 2])]``.

A reader of names and literals of its own: nothing is compiled or run, and neither depth nor
length of the text can hurt it, as they can Python's own parser.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from mlx_probe.lab.function_calls.call import Call, UnreadableError, checked_call

__all__ = ["begins_calls", "python_calls"]

_SPACE = re.compile(r"\s*(?:(?:#[^\n]*|\\\n)\s*)*")
_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_BEGINS = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\s*\(\s*(?:[^\W\d]\w*\s*=(?!=)|\))")
_NUMBER = re.compile(
    r"[+-]?\s*(?:0[xX][\da-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+"
    r"|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)"
)
_STRING = re.compile(
    r"([rRuU]?)(\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''"
    r"|\"[^\"\\\n]*(?:\\.[^\"\\\n]*)*\"|'[^'\\\n]*(?:\\.[^'\\\n]*)*')",
    re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(\n|[0-7]{1,3}|x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|N\{[^}]+\}|.)", re.DOTALL
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "\n": ""}
_QUOTED = "\\'\""
# JSON's words, too: models mix the two.
_WORDS = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}
_DEEPEST = 64


def begins_calls(text: str, start: int) -> bool:
    """Whether a call with arguments by name, or with none, begins at a position."""
    return _BEGINS.match(text, start) is not None


def python_calls(text: str, start: int) -> tuple[list[Call], int]:
    """The calls at a position, one after the other or in brackets, and where they end.

    Arguments must have names, and values must be literals; tuples become lists.

    Raises:
        UnreadableError: What follows is something else; says what.
    """
    reader = _Reader(text, start)
    try:
        return list(_calls(reader)), reader.at
    except UnreadableError as error:
        error.at = reader.at
        raise


def _calls(reader: _Reader) -> Iterator[Call]:
    bracket = reader.skip("[")
    while not (bracket and reader.skip("]")):
        yield reader.call()
        if not reader.skip(",") and not reader.skip(";"):
            if bracket:
                reader.want("]")
                break
            # The next line may be one more.
            if not begins_calls(reader.text, reader.after_space()):
                break


class _Reader:
    """Reads on from a position."""

    def __init__(self, text: str, at: int) -> None:
        self.text, self.at = text, at

    def after_space(self) -> int:
        match = _SPACE.match(self.text, self.at)
        # Kept: whoever looks here next does not look at the blanks again.
        self.at = match.end() if match else self.at
        return self.at

    def skip(self, sign: str) -> bool:
        at = self.after_space()
        if self.text.startswith(sign, at):
            self.at = at + len(sign)
            return True
        return False

    def want(self, sign: str) -> None:
        if not self.skip(sign):
            raise self.broken(f"{sign} is missing")

    def broken(self, why: str) -> UnreadableError:
        if self.after_space() >= len(self.text):
            return UnreadableError("the call ends too early")
        return UnreadableError(f"{why} at {self.text[self.after_space() :][:20]!r}")

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.after_space())
        if match:
            self.at = match.end()
        return match

    def call(self) -> Call:
        name = self.match(_NAME)
        if name is None:
            raise self.broken("no name of a function")
        self.want("(")
        arguments: dict[str, Any] = {}
        while not self.skip(")"):
            before = self.at
            key = self.match(_NAME)
            if key is None or not self.skip("="):
                self.at = before
                raise self.broken("an argument without a name")
            if key[0] in arguments:
                raise UnreadableError(f"the argument {key[0]} is there twice")
            arguments[key[0]] = self.value(0)
            if not self.skip(","):
                self.want(")")
                break
        return checked_call(name[0], arguments)

    def value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise UnreadableError("the call nests too deeply")
        if self.skip("["):
            return self.values("]", depth)[0]
        if self.skip("("):
            values, comma = self.values(")", depth)
            return values if comma or len(values) != 1 else values[0]
        if self.skip("{"):
            return self.object(depth)
        if (string := self.match(_STRING)) is not None:
            parts = [_string(string)]
            while (string := self.match(_STRING)) is not None:
                parts.append(_string(string))
            return "".join(parts)
        if (number := self.match(_NUMBER)) is not None:
            return _number(number[0])
        if (word := _NAME.match(self.text, self.after_space())) and word[0] in _WORDS:
            self.at = word.end()
            return _WORDS[word[0]]
        raise self.broken("no literal")

    def values(self, end: str, depth: int) -> tuple[list[Any], bool]:
        """Values up to a bracket, and whether the last one has a comma behind it."""
        values: list[Any] = []
        while not self.skip(end):
            values.append(self.value(depth + 1))
            if not self.skip(","):
                self.want(end)
                return values, False
        return values, bool(values)

    def object(self, depth: int) -> dict[str, Any]:
        pairs: dict[str, Any] = {}
        while not self.skip("}"):
            key = self.value(depth + 1)
            if not isinstance(key, str):
                raise UnreadableError(f"the key {str(key)[:20]} is no text")
            self.want(":")
            pairs[key] = self.value(depth + 1)
            if not self.skip(","):
                self.want("}")
                break
        return pairs


def _string(match: re.Match[str]) -> str:
    prefix, quoted = match[1], match[2]
    edge = 3 if quoted[:3] in ('"""', "'''") else 1
    inside = quoted[edge:-edge]
    return inside if prefix in ("r", "R") else _ESCAPE.sub(_escape, inside)


def _escape(match: re.Match[str]) -> str:
    code = match[1]
    if code in _ESCAPES:
        return _ESCAPES[code]
    if code in _QUOTED:
        return code
    try:
        if code[0] in "xuU" and len(code) > 1:
            return chr(int(code[1:], 16))
        if code[0] == "N" and len(code) > 1:
            return unicodedata.lookup(code[2:-1])
        if code.isdigit():
            return chr(int(code, 8))
    except (KeyError, ValueError, OverflowError):
        raise UnreadableError(f"{match[0]} names no character") from None
    return match[0]


def _number(text: str) -> int | float:
    plain = re.sub(r"\s", "", text)
    try:
        try:
            return int(plain, 0)
        except ValueError:
            value = float(plain)
    except ValueError:
        raise UnreadableError(f"{plain[:20]} is no number") from None
    if value in (float("inf"), float("-inf")):
        raise UnreadableError("a number is too large")
    return value

"""JSON: an array of objects, one object, or objects one behind the other; one in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.texts.column import text_of
from mlx_probe.lab.data.texts.plain import decoded
from mlx_probe.lab.data.texts.protocol import Record, TextFormat

__all__ = ["JSON", "json_values"]

# Characters of an object at most.
_LONGEST = 64 << 20
_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def _read(file: BinaryIO, name: str, column: str) -> Iterator[Record]:
    for number, value in enumerate(json_values(decoded(file, name), name), 1):
        yield text_of(value, column, f"{name}: object {number}")


def json_values(blocks: Iterator[str], name: str) -> Iterator[Any]:
    """The elements of the array, or the values of the file."""
    text = _Text(blocks, name)
    if text.peek() != "[":
        while text.peek():
            yield text.value()
        return
    text.at += 1
    if text.peek() != "]":
        yield text.value()
        while text.peek() == ",":
            text.at += 1
            yield text.value()
    if text.peek() != "]":
        raise _damaged(name, "a comma is missing in the array" if text.peek() else "it has no end")
    text.at += 1
    if text.peek():
        raise _damaged(name, "something follows the array")


class _Text:
    """A text that arrives in pieces, read value by value.

    Attributes:
        at: Where the next character is.
    """

    def __init__(self, blocks: Iterator[str], name: str) -> None:
        self._blocks, self._name = blocks, name
        self._text, self.at = "", 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            match = _BLANKS.match(self._text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self._text) or self._ended:
                return self._text[self.at : self.at + 1]
            self._more(1)

    def value(self) -> Any:
        """The next value.

        Raises:
            SourceError: There is none.
        """
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self.at)
                # A number at the end of what is there may go on.
                if end < len(self._text) or self._ended:
                    self.at = end
                    return value
            except RecursionError as error:
                raise _damaged(self._name, "it is nested too deeply") from error
            except ValueError as error:
                if self._ended or len(self._text) - self.at > _LONGEST:
                    raise _damaged(self._name, str(error)) from error
            # Twice as much: the value is read again from its beginning.
            self._more(2 * (len(self._text) - self.at) + 1)

    def _more(self, size: int) -> None:
        """Add blocks until there are so many characters, or all."""
        parts = [self._text[self.at :]]
        self.at, have = 0, len(parts[0])
        while have < size and not self._ended:
            block = next(self._blocks, None)
            self._ended = block is None
            parts.append(block or "")
            have += len(parts[-1])
        self._text = "".join(parts)


def _damaged(name: str, what: str) -> SourceError:
    return SourceError(f"{name} is not JSON: {what}", "Repair it, or leave it out")


JSON = TextFormat("JSON: an array of objects, or one object", (".json",), _read)

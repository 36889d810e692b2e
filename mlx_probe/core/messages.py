"""Texts that code has put together already, such as errors, in the reader's language.

An error is raised in English with its values in it: programs and logs read it so. Where it is
shown, `translated` looks for the text among the catalog's entries, and then for the template
that it was made from. A template's key has the fields of the f-string as ``{0}``, ``{1}``, in
order: ``cannot read {0}: {1}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from string import Formatter

from .language import LANGUAGES, catalog, language

__all__ = ["Template", "templates", "translated"]

# What stands after a name ("model.gguf: it is truncated") and between the parts of a list.
_COMMA, _OR = ", ", " or "
_SEPARATORS = ((": ", "："), ("; ", "；"), (_COMMA, "，"))


@dataclass(frozen=True)
class Template:
    """An English text with numbered fields.

    Attributes:
        text: The catalog's key.
        translation: The same fields in the reader's language, in any order.
    """

    text: str
    translation: str

    @cached_property
    def literals(self) -> tuple[str, ...]:
        """What stands between the fields, in order."""
        return tuple(literal for literal, *_ in Formatter().parse(self.text) if literal)

    @cached_property
    def weight(self) -> int:
        """Letters that are no field: of two templates that match, the heavier one is meant."""
        return sum(map(len, self.literals))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = []
        for literal, name, _, _ in Formatter().parse(self.text):
            parts.append(re.escape(literal))
            if name is not None:
                parts.append(f"(?P<f{name}>.*?)")
        return re.compile("".join(parts), re.DOTALL)

    def values(self, text: str) -> dict[int, str] | None:
        """The fields of a text that was made from this template; None for any other text."""
        at = 0
        for literal in self.literals:
            # Most templates end here: a pattern is compiled for few of them.
            at = text.find(literal, at)
            if at < 0:
                return None
            at += len(literal)
        found = self._pattern.fullmatch(text)
        return found and {int(name[1:]): value for name, value in found.groupdict().items()}


def translated(text: str) -> str:
    """A message in the reader's language; a text that no catalog has comes back as it is.

    Values that are messages themselves, such as the reason in "skipped: reason", are translated
    too, and so are the lines of a text and the parts of a list. Of several ways to read a text
    the one that recognizes most letters is meant.
    """
    name = language()
    if name == LANGUAGES[0] or not text.strip():
        return text
    return _read(text, name, is_whole=True).text


@dataclass(frozen=True)
class _Reading:
    text: str
    letters: int


@lru_cache(maxsize=4096)
def _read(text: str, name: str, is_whole: bool = False) -> _Reading:
    entry = _entry(text, name, is_whole)
    if entry is not None and entry.letters == len(text):
        return entry
    if entry is None and "\n" in text:
        return _joined([_line(line, name) for line in text.split("\n")], "\n")
    # The first of several that recognize as much: one that respects the separators.
    readings = [*_split(text, name), *([entry] if entry else [])]
    best = max(readings, key=lambda reading: reading.letters, default=None)
    return best if best is not None and best.letters else _Reading(text, 0)


def _entry(text: str, name: str, is_whole: bool = False, begins: str = "") -> _Reading | None:
    """A text that is an entry or made from a template, without a look at its separators.

    Args:
        text: The text.
        name: The language.
        is_whole: Whether it is no part of another.
        begins: What the template has to begin with.
    """
    # One word inside of a message is a name, such as a column's.
    entry = catalog(name).get(text) if is_whole or " " in text else None
    if entry is not None:
        return _Reading(entry, len(text))
    found = [
        _filled(template, values, name)
        for template, values in _matches(text, name)
        if template.text.startswith(begins)
    ]
    return max(found, key=lambda reading: reading.letters, default=None)


def _split(text: str, name: str) -> Iterator[_Reading]:
    """Readings of a text as two parts, or as a list."""
    for separator, chinese in _SEPARATORS:
        at = text.find(separator, 1)
        while at > 0:
            head, tail = text[:at], text[at + len(separator) :]
            # An entry may begin with its separator: "; {0} rows are left".
            if (whole := _entry(text[at:], name, begins=separator)) is not None:
                yield _joined([_read(head, name), whole], "")
            elif separator != _COMMA and (rest := _read(tail, name)).letters:
                yield _joined([_read(head, name), rest], chinese)
            at = text.find(separator, at + 1)
    at = text.find(" (")
    if at > 0 and text.endswith(")"):
        yield _joined([_read(text[:at], name), _read(text[at + 2 : -1], name)], "（", "）")
    names = text.split(_OR)
    if len(names) > 1 and all(part and " " not in part for part in names):
        yield _Reading(" 或 ".join(names), len(_OR) * (len(names) - 1))
    if _COMMA in text:
        pieces = text.split(_COMMA)
        readings = [_entry(piece, name) or _Reading(piece, 0) for piece in pieces]
        # Names have a comma of their own, which clauses do not.
        are_names = not any(reading.letters for reading in readings[1:])
        yield _joined(readings, "、" if are_names else "，")


def _matches(text: str, name: str) -> Iterable[tuple[Template, dict[int, str]]]:
    for template in templates(name):
        if (values := template.values(text)) is not None:
            yield template, values


def _filled(template: Template, values: Mapping[int, str], name: str) -> _Reading:
    inner = [_read(values[i], name) for i in range(len(values))]
    letters = template.weight + sum(reading.letters for reading in inner)
    return _Reading(template.translation.format(*(reading.text for reading in inner)), letters)


def _line(line: str, name: str) -> _Reading:
    bare = line.lstrip()
    reading = _read(bare, name)
    return _Reading(line[: len(line) - len(bare)] + reading.text, reading.letters)


def _joined(readings: Sequence[_Reading], by: str, end: str = "") -> _Reading:
    letters = sum(reading.letters for reading in readings)
    text = by.join(reading.text for reading in readings) + end
    return _Reading(text, letters)


@cache
def templates(name: str) -> tuple[Template, ...]:
    """The templates of a language, those that begin with a field last.

    Args:
        name: One of `LANGUAGES`.
    """
    found = (
        Template(text, translation)
        for text, translation in catalog(name).items()
        if _is_template(text)
    )
    # Of two that recognize as much, the one that begins with its own words.
    return tuple(sorted(found, key=lambda t: (t.text.startswith("{"), -t.weight)))


def _is_template(text: str) -> bool:
    # Most texts have no field at all.
    return "{0}" in text and all(map(str.isdigit, _names(text)))


def _names(text: str) -> Iterable[str]:
    return (name for _, name, _, _ in Formatter().parse(text) if name is not None)

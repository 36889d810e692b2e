"""Texts that code has put together already, such as errors, in the reader's language.

An error is raised in English with its values in it: programs and logs read it so. Where it is
shown, `translated` looks for the text among the catalog's entries, and then for the template
that it was made from. A template's key has the fields of the f-string as ``{0}``, ``{1}``, in
order: ``cannot read {0}: {1}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from string import Formatter

from .language import LANGUAGES, catalog, language

__all__ = ["Template", "templates", "translated"]

# Names that stand before a message, such as a file's: "model.gguf: it is truncated".
_AFTER_A_NAME = ": "
# What lists of messages are joined with.
_BETWEEN = "; "


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
    too. The lines of a text and what semicolons join are looked up one by one if the whole has
    no entry.
    """
    name = language()
    if name == LANGUAGES[0] or not text.strip():
        return text
    return _whole(text, name) or _parts(text, name) or text


def _whole(text: str, name: str) -> str | None:
    entry = catalog(name).get(text)
    if entry is not None:
        return entry
    best: tuple[Template, dict[int, str]] | None = None
    # Ordered by weight: the first match is the one that is meant.
    for template in templates(name):
        if (values := template.values(text)) is not None:
            best = template, values
            break
    if best is None:
        return None
    template, values = best
    inner = [translated(values[i]) for i in range(len(values))]
    return template.translation.format(*inner)


def _parts(text: str, name: str) -> str | None:
    if "\n" in text:
        lines = text.split("\n")
        return _joined(lines, [_line(line) for line in lines], "\n")
    if _BETWEEN in text:
        pieces = text.split(_BETWEEN)
        joined = _joined(pieces, [translated(piece) for piece in pieces], "；")
        if joined is not None:
            return joined
    head, found, tail = text.partition(_AFTER_A_NAME)
    while found:
        rest = _whole(tail, name)
        if rest is not None:
            return f"{translated(head)}：{rest}"
        more, found, tail = tail.partition(_AFTER_A_NAME)
        head = f"{head}{_AFTER_A_NAME}{more}"
    return None


def _line(line: str) -> str:
    bare = line.lstrip()
    return line[: len(line) - len(bare)] + translated(bare)


def _joined(before: list[str], after: list[str], by: str) -> str | None:
    return by.join(after) if before != after else None


@cache
def templates(name: str) -> tuple[Template, ...]:
    """The templates of a language, those with the most literal text first.

    Args:
        name: One of `LANGUAGES`.
    """
    found = (
        Template(text, translation)
        for text, translation in catalog(name).items()
        if _is_template(text)
    )
    return tuple(sorted(found, key=lambda template: -template.weight))


def _is_template(text: str) -> bool:
    # Most texts have no field at all.
    return "{0}" in text and all(map(str.isdigit, _names(text)))


def _names(text: str) -> Iterable[str]:
    return (name for _, name, _, _ in Formatter().parse(text) if name is not None)

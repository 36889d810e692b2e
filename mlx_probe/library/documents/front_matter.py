"""The YAML between --- at the beginning of a document: what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

__all__ = ["FrontMatter", "read_front_matter", "text_of"]

_PART = re.compile(r"\A---[ \t]*\r?\n(?P<yaml>.*?)^(?:---|\.\.\.)[ \t]*$\n?", re.DOTALL | re.M)


@dataclass(frozen=True)
class FrontMatter:
    """What a document says of itself.

    Attributes:
        entries: Values by key: texts, lists and mappings of texts.
        lines: Number of lines, with both marks; 0 for a document without.
        keys: Number of the line of each key.
        problem: Why it could not be read; empty if it could.
    """

    entries: Mapping[str, object] = field(default_factory=dict)
    lines: int = 0
    keys: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""

    def text(self, key: str) -> str:
        """A value as text; "" without one."""
        return text_of(self.entries.get(key))

    def line(self, key: str) -> int:
        """The line of a key; the first of the document without one."""
        return self.keys.get(key, 1)


def text_of(value: object) -> str:
    """A value of YAML as text; "" for what is none."""
    return value.strip() if isinstance(value, str) else ""


def read_front_matter(text: str) -> FrontMatter:
    """The front matter of a document.

    Args:
        text: The whole document.
    """
    found = _PART.match(text)
    if found is None:
        return FrontMatter()
    lines = found[0].count("\n") + (not found[0].endswith("\n"))
    written = found["yaml"]
    try:
        # This loader makes only text, lists and mappings: a date stays what was written.
        entries = yaml.load(written, yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "it is no YAML"
        line = 2 + (mark.line if mark is not None else 0)
        return FrontMatter(lines=lines, keys={"": line}, problem=str(reason))
    if entries is None:
        return FrontMatter(lines=lines)
    if not isinstance(entries, dict):
        return FrontMatter(lines=lines, keys={"": 2}, problem="it is no list of `key: value`")
    keys: dict[str, int] = {}
    for number, line in enumerate(written.splitlines(), start=2):
        key = re.match(r"([^\s#:][^:]*?)\s*:", line)
        if key is not None:
            keys.setdefault(key[1], number)
    return FrontMatter({str(key): value for key, value in entries.items()}, lines, keys)

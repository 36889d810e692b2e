"""Reads the front matter and the first paragraph of a model card."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

__all__ = ["Readme", "read_readme"]

# Bytes. Real cards have a few dozen kilobytes, and the important part comes first.
_MOST = 1 << 18
_LONGEST = 600
_FRONT_MATTER = re.compile(r"\A\s*---\r?\n(?P<yaml>.*?)\n---\s*(?:\n|\Z)(?P<rest>.*)", re.DOTALL)
# Markup that is removed: HTML, code, images, targets of links, emphasis.
_MARKS = (
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(r"```.*?(```|\Z)", re.DOTALL), "\n\n"),
    (re.compile(r"<[^<>]*>"), ""),
    (re.compile(r"!\[[^\[\]]*\]\([^()]*\)"), ""),
    (re.compile(r"\[([^\[\]]*)\]\([^()]*\)"), r"\1"),
    (re.compile(r"[*`]+"), ""),
)


@dataclass(frozen=True)
class Readme:
    """What a model card says.

    Attributes:
        licence: From its front matter.
        base_models: From its front matter.
        description: Its first paragraph of prose, as plain text.
    """

    licence: str = ""
    base_models: tuple[str, ...] = ()
    description: str = ""


def read_readme(path: Path) -> Readme:
    """Read a model card; damaged or missing parts give empty fields."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST).decode("utf-8", "replace")
    except OSError:
        return Readme()
    match = _FRONT_MATTER.match(text)
    entries: object = None
    if match is not None:
        try:
            # This loader makes only text, lists and mappings.
            entries = yaml.load(match["yaml"], yaml.BaseLoader)
        except (yaml.YAMLError, RecursionError, ValueError):
            entries = None
    known = entries if isinstance(entries, dict) else {}
    licence = _text(known.get("license"))
    if licence in ("", "other"):
        licence = _text(known.get("license_name")) or licence
    base = known.get("base_model")
    bases = base if isinstance(base, list) else [base]
    return Readme(
        licence=licence,
        base_models=tuple(_text(name) for name in bases[:20] if _text(name)),
        description=_first_words(match["rest"] if match else text),
    )


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(filter(None, map(_text, value[:5])))
    return value.strip()[:200] if isinstance(value, str) else ""


def _first_words(text: str) -> str:
    for pattern, instead in _MARKS:
        text = pattern.sub(instead, text)
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in paragraph.splitlines()]
        prose = " ".join(line for line in lines if line and line[0] not in "#|>-=+")
        # Short lines are badges and menus.
        if len(prose.split()) >= 5:
            return prose if len(prose) <= _LONGEST else prose[: _LONGEST - 3].rstrip() + "..."
    return ""

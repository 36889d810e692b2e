"""Text as HTML: escaped, and the texts of templates in the reader's language."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files

from mlx_probe.core.language import catalog, language, tr
from mlx_probe.report.terminal.plain import plain

__all__ = ["LANGUAGE_TAGS", "html_text", "marked_texts", "part", "script_texts", "script_words"]

# How HTML names the languages of the catalogs.
LANGUAGE_TAGS = {"en": "en", "zh": "zh-Hans"}
# [[a text]] in a template, tr("a text") in a script.
_MARKED = re.compile(r"\[\[(.+?)\]\]", re.DOTALL)
_LITERAL = re.compile(r'\btr\(\s*"((?:[^"\\]|\\.)*)"')


def html_text(value: object) -> str:
    """Any value as text that is neither markup nor control characters."""
    return escape(plain(str(value)))


def part(name: str) -> str:
    """A file of this folder; marked texts of an HTML file are in the reader's language."""
    text = files(__package__).joinpath(name).read_text("utf-8").replace("\r\n", "\n")
    if not name.endswith(".html"):
        return text
    return _MARKED.sub(lambda found: html_text(tr(_one_line(found[1]))), text)


def marked_texts(template: str) -> list[str]:
    """The texts that a template marks for translation, each on one line."""
    return [_one_line(text) for text in _MARKED.findall(template)]


def script_texts(script: str) -> list[str]:
    """The English texts that a script asks ``tr`` for."""
    return [json.loads(f'"{literal}"') for literal in _LITERAL.findall(script)]


def script_words(scripts: Iterable[str]) -> Mapping[str, str]:
    """The texts of scripts in the reader's language, by their English; empty for English."""
    known = catalog(language())
    texts = {text for script in scripts for text in script_texts(script)}
    return {text: known[text] for text in sorted(texts) if text in known}


def _one_line(text: str) -> str:
    return " ".join(text.split())

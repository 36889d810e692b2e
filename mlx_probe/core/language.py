"""The language of what a person reads; data and what programs read stay English."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files

__all__ = ["LANGUAGES", "VARIABLE", "can_show", "catalog", "language", "speaking", "tr"]

VARIABLE = "MLX_PROBE_LANG"
# English needs no catalog: its texts are the keys of the others.
LANGUAGES = ("en", "zh")
# In the order in which gettext looks at them; LANGUAGE may list several.
_SYSTEM = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
_SPOKEN: ContextVar[str | None] = ContextVar("spoken", default=None)


def tr(text: str, /, **values: object) -> str:
    """A text in the reader's language, with its values put in.

    Args:
        text: The English text, literally: a test collects the literals and looks for each in
            every catalog. Fields are named, as in ``"{count} rows"``.
        **values: The fields' values, already formatted.
    """
    translated = catalog(language()).get(text, text)
    return translated.format(**values) if values else translated


def language() -> str:
    """The reader's language, one of `LANGUAGES`.

    `speaking` or MLX_PROBE_LANG names it; otherwise the system's setting does. A language without
    a catalog gives English.
    """
    spoken = _SPOKEN.get()
    if spoken is not None:
        return spoken
    wanted = os.environ.get(VARIABLE, "")
    if not wanted:
        wanted = next((value for name in _SYSTEM if (value := os.environ.get(name))), "")
    return _supported(wanted.split(":"))


@contextmanager
def speaking(name: str) -> Iterator[None]:
    """Speak a language whatever the reader's is, such as where a font lacks its characters.

    Args:
        name: One of `LANGUAGES`.
    """
    before = _SPOKEN.set(name)
    try:
        yield
    finally:
        _SPOKEN.reset(before)


def is_supported(name: str) -> bool:
    """Whether a name such as zh_CN.UTF-8 is that of a language with texts."""
    return _short(name) in LANGUAGES


def _short(name: str) -> str:
    # zh_CN.UTF-8, zh-Hans and Zh all mean the same catalog.
    return name.replace("-", "_").partition("_")[0].partition(".")[0].lower()


def _supported(names: Iterable[str]) -> str:
    for name in names:
        if is_supported(name):
            return _short(name)
    return LANGUAGES[0]


def can_show(encoding: str | None) -> bool:
    """Whether an encoding has the characters of the reader's language.

    Args:
        encoding: A name that Python knows; others have no characters but ASCII.
    """
    try:
        tr("Error: {message}", message="").encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@cache
def catalog(name: str) -> Mapping[str, str]:
    """The texts of a language by their English ones; empty for English.

    Args:
        name: One of `LANGUAGES`.
    """
    entries: dict[str, str] = {}
    if name != LANGUAGES[0]:
        folder = files(__package__).joinpath("words").joinpath(name)
        for file in sorted(folder.iterdir(), key=lambda file: file.name):
            entries.update(json.loads(file.read_text("utf-8")))
    return entries

"""Rules about names, dates and ids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from .findings import DocumentRule
from .project import KINDS
from .surroundings import Document, Surroundings

__all__ = ["PROJECT_RULES", "UNDATED"]

# Names that other programs and readers look for as they are.
_CONVENTIONAL = re.compile(
    r"(?:[A-Z]+_)?(?:README|CHANGELOG|CHANGES|HISTORY|NEWS|LICEN[CS]E|COPYING|NOTICE|AUTHORS|CONTRIBUTING|"
    r"CONTRIBUTORS|CODE_OF_CONDUCT|SECURITY|SUPPORT|GOVERNANCE|MAINTAINERS|CODEOWNERS|ROADMAP|"
    r"INSTALL|THANKS|CITATION|AGENTS|CLAUDE|GEMINI|SKILL|MODEL_CARD|"
    r"(?:PULL_REQUEST|ISSUE)_TEMPLATE)(?:[._-].*)?"
)
_BAD = re.compile(r"[\s<>:\"|?*\\]")
# Pages of a project that have no date of their own.
UNDATED = ("index.md", "log.md", "rules.md")
# The first lines may say it in words, in either language.
_WRITTEN = re.compile(r"(?im)^\W*(?:date|日期|dated|updated|更新)\W{1,6}(?P<date>\d{4}-\d\d-\d\d)")
_FIRST_LINES = 15
# So many documents with dates are a custom of their folder.
_FEWEST_DATED = 3


def _file_name(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    name = document.path.name
    stem = document.path.stem
    if _BAD.search(name):
        yield 1, f"the file's name {name!r} has characters that links need to escape"
    elif name != name.lower() and not _may_be_upper(document, surroundings):
        yield 1, f"the file's name {name} is not lower case: {_lower(stem)}.md"


def _may_be_upper(document: Document, surroundings: Surroundings) -> bool:
    path = document.path
    if path.suffix != path.suffix.lower():
        return False
    if _CONVENTIONAL.fullmatch(path.stem):
        return True
    if document.project is not None or path.stem != path.stem.upper():
        return False
    # Elsewhere capitals may be the convention: all pages of the folder have them.
    beside = [
        name for name in surroundings.names(path.absolute().parent) if name.lower().endswith(".md")
    ]
    return len(beside) > 1 and all(name[:-3] == name[:-3].upper() for name in beside)


def _lower(stem: str) -> str:
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", stem)
    return re.sub(r"\s+", "_", parted).lower()


def _no_date(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    front = document.page.front
    if document.path.name in UNDATED or not _is_dated(document, surroundings):
        return
    written = front.text("date")
    if "date" in front.keys and not _is_date(written):
        yield front.line("date"), f"the date {written!r} is none: write 2026-12-31"
    elif not written:
        first = "\n".join(document.page.text.split("\n")[:_FIRST_LINES])
        found = _WRITTEN.search(first)
        if found is None or not _is_date(found["date"]):
            yield 1, "the document has no date: write `date: 2026-12-31` into its front matter"


def _is_dated(document: Document, surroundings: Surroundings) -> bool:
    """Whether a document has to have a date."""
    front = document.page.front
    if front.text("kind") in KINDS or "date" in front.keys:
        return True
    # Pages such as a README are free.
    if _CONVENTIONAL.fullmatch(document.path.stem):
        return False
    return document.project is not None or _are_dated(document, surroundings)


def _are_dated(document: Document, surroundings: Surroundings) -> bool:
    """Whether the documents beside it have dates, all but a few of them."""
    folder = document.path.absolute().parent
    dated = surroundings.dated(folder)
    names = [name for name in dated if name != document.path.name and name not in UNDATED]
    count = sum(dated[name] for name in names)
    return count >= _FEWEST_DATED and 2 * count > len(names)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return len(text) == 10 or text[10:11] in ("T", " ")


def _kind(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    front = document.page.front
    kind = front.text("kind")
    if kind and kind not in KINDS:
        yield front.line("kind"), f"there is no kind {kind!r}: one of {', '.join(KINDS)}"
    elif kind and not front.text("id"):
        yield front.line("kind"), "the document has a kind and no id"


PROJECT_RULES = {
    "no-date": DocumentRule("a document without a date, or with one that is none", _no_date),
    "file-name": DocumentRule(
        "a file name with capitals, blanks or characters that links need to escape; names such "
        "as `README.md` are known",
        _file_name,
    ),
    "kind": DocumentRule(
        "a kind that is unknown, or a document with a kind and no id", _kind, applies="project"
    ),
}

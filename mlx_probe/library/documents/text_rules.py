"""Rules about titles, headings, and what is left to be written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from .findings import DocumentRule
from .surroundings import Document, Surroundings

__all__ = ["TEXT_RULES"]

# Texts that come from elsewhere and stay as they are.
_VERBATIM = re.compile(r"(?i)(licen[cs]e|copying|notice|authors|patents)\b.*")
# Whole words in capitals: "todo list" is a thing, TODO is a note to oneself.
_LEFT = re.compile(r"(?<![\w-])(?:TODO|FIXME|TBD)(?![\w-])|待补充")
# What speaks of such notes: "a TODO", "TODO comments".
_SPOKEN_OF = re.compile(
    r"(?i)(?:\b(?:an?|the|any|all|no|this|that|some|every|each|of|old|remove|removed|removes)\s+)$"
)
_THINGS = re.compile(
    r"(?i)(?:s\b|['’]s\b|[- ](?:comments?|lists?|items?|apps?|markers?|tags?|notes?|entry|entries|"
    r"tree|rules?)\b)"
)
_QUOTED = re.compile(r"[\"“‘'「『«][^\"”’'」』»]*[\"”’'」』»]")


def _no_title(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    page = document.page
    if page.has_title or _VERBATIM.fullmatch(document.path.stem):
        return
    # A logo at the top names what the page is about.
    if document.project is None and page.begins_with == "image":
        return
    yield page.front.lines + 1, "the page has no title, a heading of level 1"


def _second_title(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    titles = [each for each in document.page.headings if each.level == 1 and not each.is_quoted]
    for title in titles[1:]:
        fact = "a second title"
        yield title.line, f"{fact}: {title.text}"


def _heading_jump(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    headings = [each for each in document.page.headings if not each.is_quoted]
    for above, heading in pairwise(headings):
        if heading.level > above.level + 1:
            fact = f"a heading of level {heading.level} below one of level {above.level}"
            yield heading.line, f"{fact}: {heading.text}"


def _empty_heading(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    for heading in document.page.headings:
        # In HTML it may be an image, whose text is another rule's.
        if not heading.text and not heading.is_html:
            yield heading.line, "the heading is empty"


def _todo(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    page = document.page
    texts = [(each.line, each.text) for each in page.words]
    texts += [
        (each.line + number, text)
        for each in page.comments
        for number, text in enumerate(each.text.split("\n"))
    ]
    front = page.text.split("\n")[: page.front.lines]
    texts += [(number, line.partition(":")[2]) for number, line in enumerate(front, start=1)]
    for line, text in texts:
        if _is_left_in(text):
            fact = "left to be written"
            yield line, f"{fact}: {' '.join(text.split())[:80]}"


def _is_left_in(text: str) -> bool:
    """Whether a text has a note to oneself."""
    plain = _QUOTED.sub(lambda quoted: " " * len(quoted[0]), text)
    for found in _LEFT.finditer(plain):
        ahead, behind = plain[: found.start()], plain[found.end() :]
        if _THINGS.match(behind):
            continue
        # "this is a TODO." is one.
        if _SPOKEN_OF.search(ahead) and re.match(r"\s+\w", behind):
            continue
        return True
    return False


def _front_matter(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    front = document.page.front
    # A template gets its values later.
    if front.problem and not re.search(r"\{[{%]", document.page.text):
        yield front.line(""), f"the front matter cannot be read: {front.problem}"


TEXT_RULES = {
    "no-title": DocumentRule("a page without a title", _no_title),
    "second-title": DocumentRule(
        "a second heading of level 1", _second_title, applies="project", quotes=True
    ),
    "heading-jump": DocumentRule(
        "a heading that leaves a level out", _heading_jump, applies="project", quotes=True
    ),
    "empty-heading": DocumentRule("a heading without text", _empty_heading),
    "todo": DocumentRule(
        "`TODO`, `FIXME`, `TBD` or `待补充` left in text or comments, not in code or quotations",
        _todo,
        quotes=True,
    ),
    "front-matter": DocumentRule("front matter that is no YAML", _front_matter),
}

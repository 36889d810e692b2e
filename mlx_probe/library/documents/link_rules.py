"""Rules about links, anchors and images. Nothing is fetched: other machines are not asked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from .findings import DocumentRule
from .html_parts import html_parts
from .page import Page
from .surroundings import Document, Surroundings

__all__ = ["LINK_RULES"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_NOWHERE = re.compile(r"(?i)(?:https?:(?://)?|mailto:|file:(?://)?|tel:)\s*")
_MARKDOWN = (".md", ".markdown")
# Anchors that every page has, and lines of files where such pages are shown.
_ALWAYS = re.compile(r"(?i)top|L\d+(?:-L?\d+)?|:~:text=.*")
_TO_TOP = re.compile(r"(?i)top|↑|⬆|顶")
# What a link to an undefined name looks like: the parser leaves it as text.
_UNDEFINED = re.compile(r"(?<![\w\])\\])\[([^\[\]\n]+)\]\[([^\[\]\n]*)\]")


def _is_elsewhere(target: str) -> bool:
    return target.startswith("//") or _SCHEME.match(target) is not None


def _empty_link(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    for link in document.page.links:
        if not link.target.strip() or _NOWHERE.fullmatch(link.target):
            yield link.line, f"the link leads nowhere: [{link.text}]({link.target})"
        elif not link.text:
            yield link.line, f"the link has no text: []({link.target})"


def _empty_anchor(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    for link in document.page.links:
        path, mark, anchor = link.target.partition("#")
        if mark and not anchor.strip() and not _is_elsewhere(link.target):
            if not path and (_TO_TOP.search(link.text) or link.text == "HTML"):
                continue
            yield link.line, f"nothing is behind # in the link to {link.target}"
    for line, name in document.page.ids:
        if not name.strip():
            yield line, "an anchor without a name"


def _dead_link(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    for link in document.page.links:
        path = _path_of(link.target)
        if path and not surroundings.exists(surroundings.target(document.path, path)):
            fact = f"the link leads to no file: {unquote(path)}"
            yield link.line, fact + _near(document, surroundings, path)


def _dead_image(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    for image in document.page.images:
        path = _path_of(image.target)
        if not image.target.strip():
            yield image.line, f"the image {image.alt or ''!r} names no file"
        elif path and not surroundings.exists(surroundings.target(document.path, path)):
            fact = f"the image has no file: {unquote(path)}"
            yield image.line, fact + _near(document, surroundings, path)


def _path_of(target: str) -> str:
    """The path of a link to a file here; "" for other links."""
    if _is_elsewhere(target):
        return ""
    return re.split(r"[#?]", target.strip(), maxsplit=1)[0]


def _near(document: Document, surroundings: Surroundings, path: str) -> str:
    """What may have been meant."""
    there = surroundings.target(document.path, path)
    names = surroundings.names(there.parent)
    exact = [name for name in names if name.lower() == there.name.lower()]
    near = exact or difflib.get_close_matches(there.name, names, n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""


def _dead_anchor(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    for link in document.page.links:
        path, _, anchor = link.target.strip().partition("#")
        path = path.partition("?")[0]
        if not anchor or _is_elsewhere(link.target):
            continue
        page, name = document.page, document.path.name
        if path:
            target = _page_at(surroundings.target(document.path, path), surroundings)
            if target is None:
                continue  # not there, which is another rule's, or no page
            other = surroundings.page(target)
            if other is None:
                continue
            page, name = other, target.name
        wanted = unquote(anchor)
        known = _anchors(page, name)
        if wanted in known or wanted.removeprefix("user-content-") in known:
            continue
        if _ALWAYS.fullmatch(wanted):
            continue
        near = difflib.get_close_matches(wanted.lower(), sorted(known), n=1)
        hint = f"; did you mean #{near[0]}?" if near else ""
        fact = f"{name} has no anchor #{wanted}"
        yield link.line, fact + hint


def _page_at(path: Path, surroundings: Surroundings) -> Path | None:
    if path.is_dir():
        # Where folders are shown with the page that they have.
        path = path / "README.md"
    is_page = path.suffix.lower() in (*_MARKDOWN, ".html", ".htm")
    return path if is_page and surroundings.exists(path) else None


def _anchors(page: Page, name: str) -> frozenset[str]:
    if name.lower().endswith(_MARKDOWN):
        return page.anchors
    # No Markdown: its headings are not what the parser takes for some.
    return frozenset(part.text for part in html_parts(page.text) if part.kind == "anchor")


def _undefined(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    for words in document.page.words:
        for found in _UNDEFINED.finditer(words.text):
            yield words.line, f"nothing defines the link [{found[2] or found[1]}]"


def _no_alt(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    for image in document.page.images:
        # In HTML an empty text says that the image is decoration.
        if image.alt is None or (not image.alt and not image.is_html):
            yield image.line, f"the image {image.target} has no alternative text"


def _double_anchor(document: Document, surroundings: Surroundings) -> Iterator[tuple[int, str]]:
    taken: set[str] = set()
    for line, name in document.page.ids:
        if name and name in taken:
            yield line, f"a second anchor {name}: links lead to the first"
        taken.add(name)


LINK_RULES = {
    "empty-link": DocumentRule("a link without target or text", _empty_link),
    "empty-anchor": DocumentRule(
        "a link with nothing behind `#`, or an anchor without a name", _empty_anchor
    ),
    "dead-link": DocumentRule("a link to a file that is not there", _dead_link),
    "dead-anchor": DocumentRule(
        "a link to a heading or HTML id that the page does not have, by the rules of GitHub",
        _dead_anchor,
    ),
    "undefined-link": DocumentRule("`[text][name]` without `[name]: target`", _undefined),
    "double-anchor": DocumentRule("two HTML anchors of one name", _double_anchor),
    "dead-image": DocumentRule("an image whose file is not there", _dead_image),
    "no-alt": DocumentRule("an image without alternative text", _no_alt, applies="project"),
}

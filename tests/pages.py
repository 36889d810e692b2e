"""The pages of the documentation, parsed: headings, links, blocks of code."""

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from urllib.parse import unquote

from markdown_it import MarkdownIt
from project import ROOT

README = "README.md"
GENERATED = ("docs/en/columns.md", "docs/en/command-line.md")
NAMES = (README, *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")))
ENGLISH = tuple(name for name in NAMES if not name.startswith("docs/zh/"))
WRITTEN = tuple(name for name in ENGLISH if name not in GENERATED)
CHINESE = tuple(name for name in NAMES if name not in ENGLISH)

_ID = re.compile(r'<a id="([^"]+)">')


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        text: As it is written.
        anchors: What a link to the page may have behind #.
        links: Targets of links and images that are not on other machines.
        blocks: Language and text of each fenced block.
    """

    text: str
    anchors: frozenset[str]
    links: tuple[str, ...]
    blocks: tuple[tuple[str, str], ...]


@cache
def page(name):
    text = (ROOT / name).read_text("utf-8")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    anchors = []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            anchors.append(_slug(inline, anchors))
    inlines = [child for token in tokens for child in token.children or ()]
    targets = [token.attrGet("href") or token.attrGet("src") for token in inlines]
    links = [str(t) for t in targets if t and not re.match(r"[a-z]+:", str(t))]
    blocks = [(t.info.strip(), t.content) for t in tokens if t.type == "fence"]
    return Page(text, frozenset([*anchors, *_ID.findall(text)]), tuple(links), tuple(blocks))


def _slug(heading, taken):
    """The anchor that a heading gets where such pages are shown; numbered when repeated."""
    shown = "".join(t.content for t in heading.children if t.type in ("text", "code_inline"))
    slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
    count = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other) is not None for other in taken)
    return f"{slug}-{count}" if count else slug


def target(name, link):
    """The path that a link on a page leads to, from the project's folder, and its anchor."""
    # The parser writes letters that are not ASCII as %XX.
    path, _, anchor = unquote(link).partition("#")
    whole = (ROOT / name).parent.joinpath(path).resolve() if path else ROOT / name
    return whole, anchor

"""The anchors that GitHub gives to headings."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

__all__ = ["numbered_slugs", "slug"]

# First letters of the Unicode categories that stay: letters, marks, numbers. Of punctuation only
# connectors such as _ and the hyphen do.
_KEPT = "LMN"


def slug(heading: str) -> str:
    """The anchor of a heading, without the number that a repeated one gets.

    Args:
        heading: The heading as it is shown, without markup.
    """
    kept = (c for c in heading.strip().lower() if c in " -" or _stays(c))
    return "".join(kept).replace(" ", "-")


def _stays(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in _KEPT or category == "Pc"


def numbered_slugs(headings: Iterable[str]) -> list[str]:
    """The anchors of a page's headings, in order: the second of its name ends with -1."""
    times: dict[str, int] = {}
    anchors = []
    for heading in headings:
        plain = anchor = slug(heading)
        while anchor in times:
            # Not by counting alone: a heading may be called "setup 1" itself.
            times[plain] += 1
            anchor = f"{plain}-{times[plain]}"
        times[anchor] = 0
        anchors.append(anchor)
    return anchors

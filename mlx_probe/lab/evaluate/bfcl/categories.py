"""The categories of BFCL whose answers are one turn of Python calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlx_probe.core.errors import ConfigError

__all__ = ["CATEGORIES", "Category", "Kind", "category_of"]

Kind = Literal["simple", "multiple", "parallel", "irrelevance", "relevance"]


@dataclass(frozen=True)
class Category:
    """A category.

    Attributes:
        kind: "simple" wants one call of the only function, "multiple" one call of one of several,
            "parallel" several calls in any order, "irrelevance" none, "relevance" any.
        live: Whether its questions come from users.
    """

    kind: Kind
    live: bool = False

    @property
    def has_truth(self) -> bool:
        """Whether accepted answers belong to it."""
        return self.kind not in ("irrelevance", "relevance")


CATEGORIES: dict[str, Category] = {
    "simple_python": Category("simple"),
    "multiple": Category("multiple"),
    "parallel": Category("parallel"),
    "parallel_multiple": Category("parallel"),
    "irrelevance": Category("irrelevance"),
    "live_simple": Category("simple", live=True),
    "live_multiple": Category("multiple", live=True),
    "live_parallel": Category("parallel", live=True),
    "live_parallel_multiple": Category("parallel", live=True),
    "live_irrelevance": Category("irrelevance", live=True),
    "live_relevance": Category("relevance", live=True),
}

# The name of before version 4.
_ALIASES = {"simple": "simple_python"}
# Their values are literals of other languages, which need these languages' own readers.
_OTHER_LANGUAGES = {
    "simple_java": "Java",
    "simple_javascript": "JavaScript",
    "java": "Java",
    "javascript": "JavaScript",
}


def category_of(name: str) -> tuple[str, Category]:
    """A category by its name, and the name that BFCL's files have.

    Raises:
        ConfigError: There is none, or it is not one turn of Python.
    """
    name = _ALIASES.get(name, name)
    if name in CATEGORIES:
        return name, CATEGORIES[name]
    choices = f"Choose one of {', '.join(CATEGORIES)}"
    if name in _OTHER_LANGUAGES:
        raise ConfigError(
            f"category {name}: answers in {_OTHER_LANGUAGES[name]} are not checked here", choices
        )
    if name.startswith(("multi_turn", "memory", "web_search")):
        raise ConfigError(f"category {name}: only single turns are checked here", choices)
    raise ConfigError(f"unknown category {name!r}", choices)

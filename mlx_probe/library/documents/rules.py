"""The rules of `mlx-probe docs check`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .block_rules import BLOCK_RULES
from .findings import DocumentRule
from .link_rules import LINK_RULES
from .project_rules import PROJECT_RULES
from .stale_rules import STALE_RULES
from .text_rules import TEXT_RULES

__all__ = ["DIRECTIVE", "RULES", "UNREADABLE"]

# Rules of `check.py` itself: what it cannot read, and comments to it that make no sense.
UNREADABLE, DIRECTIVE = "unreadable", "directive"


def _nothing(document: object, surroundings: object) -> tuple[()]:
    return ()


RULES: Mapping[str, DocumentRule] = MappingProxyType(
    {
        **TEXT_RULES,
        **PROJECT_RULES,
        **LINK_RULES,
        **BLOCK_RULES,
        **STALE_RULES,
        UNREADABLE: DocumentRule("a file that is no UTF-8 text or cannot be read", _nothing),
        DIRECTIVE: DocumentRule(
            "a comment to this check that names no rule, or one that there is not", _nothing
        ),
    }
)

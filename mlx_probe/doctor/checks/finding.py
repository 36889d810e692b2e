"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Status", "Verdict", "ok"]

Status = Literal["ok", "warning", "error"]

# Status, fact, remedy.
Verdict = tuple[Status, str, str]


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    Attributes:
        check: The check's name in `CHECKS`.
        status: "ok", "warning" (something works less well) or "error" (something does not work).
        fact: What the check saw.
        remedy: What to do about it; "" if there is nothing to do.
    """

    check: str
    status: Status
    fact: str
    remedy: str = ""


def ok(fact: str) -> Verdict:
    """A verdict that asks for nothing."""
    return "ok", fact, ""

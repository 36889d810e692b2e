"""One check of a finished job, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Check"]


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: What was checked.
        passed: Whether it holds.
        detail: The outcome; names the first offending rows if it does not hold.
    """

    name: str
    passed: bool
    detail: str

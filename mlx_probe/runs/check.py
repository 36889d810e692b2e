"""One check of a finished job, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Check"]


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: What was checked.
        passed: Whether it passed.
        detail: The outcome; the first offending rows if it failed.
    """

    name: str
    passed: bool
    detail: str

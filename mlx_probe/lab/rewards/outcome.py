"""What became of a call that was executed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Outcome", "OutcomeKind"]

OutcomeKind = Literal["ok", "unknown", "error", "time", "memory", "output"]


@dataclass(frozen=True)
class Outcome:
    """The result of a call, or why there is none.

    Attributes:
        kind: "ok", or what went wrong: the function is not registered ("unknown"), it raised or
            its process ended ("error"), it took too long ("time"), too much memory ("memory"), or
            its result is too long ("output").
        value: The result, a JSON value; None if there is none.
        text: What went wrong; "" if nothing.
    """

    kind: OutcomeKind
    value: Any = None
    text: str = ""

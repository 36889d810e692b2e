"""What became of the checkpoints of a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["StepState"]


@dataclass(frozen=True)
class StepState:
    """What became of a checkpoint.

    Attributes:
        step: Its step.
        name: Its name.
        state: "measured" now, "kept" from an earlier call, or "skipped" until the next one.
        reason: Why it is skipped, or what is wrong with it; "" for nothing.
        seconds: Of the measurement now.
    """

    step: int
    name: str
    state: Literal["measured", "kept", "skipped"]
    reason: str = ""
    seconds: float = 0.0

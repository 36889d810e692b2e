"""How far a training run is, beside weights and optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TrainState"]


@dataclass
class TrainState:
    """How far a run is.

    What is random follows from the run's seed and these numbers: the order of the data from the
    position, dropout and samples from the step.

    Attributes:
        step: Steps made.
        position: Batches taken from the loader.
        tokens: Tokens trained on.
        seconds: Time taken, over all starts.
        pending: Metrics of the last step while they are not in metrics.jsonl: its evaluation is
            still to come. None if nothing is open.
        latest: "step" and the values of the latest evaluation, such as "val_loss".
        best: The same of the best one.
        stale: Evaluations since the best one.
    """

    step: int = 0
    position: int = 0
    tokens: int = 0
    seconds: float = 0.0
    pending: dict[str, Any] | None = field(default_factory=lambda: {"step": 0, "tokens": 0})
    latest: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    stale: int = 0

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainState:
        """The state of a checkpoint.

        Raises:
            TypeError: These are not its values.
        """
        state = cls(**values)
        numbers = (state.step, state.position, state.tokens, state.stale)
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise TypeError("a counter is no number")
        return state

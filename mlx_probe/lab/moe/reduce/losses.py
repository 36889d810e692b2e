"""The losses of a mixture before and after it was made smaller."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Losses"]


@dataclass(frozen=True)
class Losses:
    """The mixture before and after on one text.

    Attributes:
        data: The text.
        skipped: Tokens at its beginning that scores were computed on: they are not among those.
        tokens: Tokens that are predicted.
        context: Tokens that the models saw at most.
        device: Where they ran.
        loss_before: Mean nats a token.
        loss_after: Mean nats a token, with fewer experts.
    """

    data: str
    skipped: int
    tokens: int
    context: int
    device: str
    loss_before: float
    loss_after: float

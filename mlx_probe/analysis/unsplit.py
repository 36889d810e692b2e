"""Fused matrices that have no parts, because the model's family is not listed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlx_probe.checkpoint import Weight

__all__ = ["warn_of_unsplit"]

# The numbers of heads are read for the language model: no tower is ever split.
_TOWERS = ("vision", "audio", "projector")


def warn_of_unsplit(weights: Sequence[Weight], warn: Callable[[str], None]) -> None:
    """Say at a job's start which fused matrices are rows as a whole only, and why.

    Args:
        weights: What a job reads.
        warn: Receives one message for each reason; none if every fused matrix is split.
    """
    names: dict[str, list[str]] = {}
    for weight in weights:
        if weight.unsplit and weight.role.component not in _TOWERS:
            names.setdefault(weight.unsplit, []).append(weight.label)
    for reason, fused in names.items():
        these = f"{len(fused)} fused matrices have" if len(fused) > 1 else "1 fused matrix has"
        warn(f"{these} no rows for the parts: {reason}. The first: {fused[0]}")

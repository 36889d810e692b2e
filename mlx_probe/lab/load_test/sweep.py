"""The highest rate of requests at which a server stays within the goodput target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlx_probe.lab.load_test.config import SweepConfig

__all__ = ["Found", "Step", "find_highest_rate"]


# Requests in flight, on average, below which a server is idle most of the time: where too few
# requests are good even then, no lower rate is better, and it would take ever longer to try.
IDLE = 0.25


@dataclass(frozen=True)
class Step:
    """One rate that was tried.

    Attributes:
        rate: Requests a second.
        share: Share of the requests that were good.
        holds: Whether that is enough.
    """

    rate: float
    share: float
    holds: bool


@dataclass(frozen=True)
class Found:
    """What a sweep has found.

    Attributes:
        highest: The highest rate that holds; None if no rate that was tried does.
        lowest_failing: The lowest rate above it that does not; None if all hold.
        steps: In the order in which they were tried.
    """

    highest: float | None
    lowest_failing: float | None
    steps: tuple[Step, ...]


def find_highest_rate(
    try_rate: Callable[[float], tuple[float, float]], first: float, config: SweepConfig
) -> Found:
    """Double or halve the rate until it is bracketed, then bisect on a logarithmic scale.

    Args:
        try_rate: Runs a test at a rate; returns the share of good requests, and how many
            requests were in flight on average.
        first: The rate to begin with.
        config: Target, precision, and steps at most.
    """
    steps: list[Step] = []
    low: float | None = None
    high: float | None = None
    rate = first
    while len(steps) < config.max_steps:
        share, in_flight = try_rate(rate)
        holds = share >= config.target
        steps.append(Step(rate, share, holds))
        low, high = (rate, high) if holds else (low, rate)
        if low is None:
            if in_flight < IDLE:
                break
            rate = rate / 2
        elif high is None:
            rate = rate * 2
        elif high <= low * config.precision:
            break
        else:
            rate = (low * high) ** 0.5
    return Found(low, high, tuple(steps))

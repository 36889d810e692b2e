"""The plan of running a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["RunOption", "RunPlan", "Width"]


@dataclass(frozen=True)
class RunOption:
    """A width at a context.

    Attributes:
        bits: Of an element of the matrices.
        context: Tokens.
        weights: Bytes of the weights.
        cache: Bytes of keys and values; None if unknown.
        working: Bytes that reading a prompt takes beside them, estimated.
        total: Bytes of all; None if unknown.
        fits: Whether that is at most the memory; None if unknown.
        tokens_per_second: New tokens a second at that context; None if unknown.
    """

    bits: int
    context: int
    weights: int
    cache: int | None
    working: int
    total: int | None
    fits: bool | None
    tokens_per_second: float | None


@dataclass(frozen=True)
class Width:
    """What a width brings and costs, whatever the context.

    Attributes:
        bits: Of an element of the matrices; 16 for no quantization.
        weights: Bytes of the weights.
        read: Bytes that a new token reads of them; None if unknown.
        longest: Tokens of the longest context that fits, at most the model's own; 0 if not even
            the weights fit; None if unknown.
        bandwidth: Bytes a second at which products read them.
        error: RMSE of rounding over the RMS of the weights; None if unknown.
        worst: Names of the matrices with the largest errors, and these errors.
    """

    bits: int
    weights: int
    read: int | None
    longest: int | None
    bandwidth: float
    error: float | None
    worst: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class RunPlan:
    """Which widths of a model this machine runs, how fast, and what they cost.

    Attributes:
        model: Id, revision, parameters, bytes as stored, how its matrices are stored.
        device: Where it would run.
        memory: Bytes that it may take.
        memory_assumed: Whether the user named them.
        bandwidth_measured: Whether products were timed here; False for a bandwidth that the user
            named, which no machine exceeds: speeds are upper bounds then.
        product_seconds: Time that each product takes beside reading.
        trained_context: Tokens of the longest context that the model was trained on; None if it
            does not say.
        experts: Active experts of a token, and experts of a layer; None without experts.
        quality: Matrices that were rounded, of how many, and the sample that chose them.
        widths: By falling bits.
        options: By falling bits, then by context.
        unknown: What could not be said, and why.
        advice: What to do, the first the best.
    """

    model: Mapping[str, Any]
    device: str
    memory: int
    memory_assumed: bool
    bandwidth_measured: bool
    product_seconds: float
    trained_context: int | None
    experts: Mapping[str, int] | None
    quality: Mapping[str, Any]
    widths: tuple[Width, ...]
    options: tuple[RunOption, ...]
    unknown: tuple[str, ...]
    advice: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether some width fits at some context, as far as that is known."""
        return any(option.fits is not False for option in self.options)

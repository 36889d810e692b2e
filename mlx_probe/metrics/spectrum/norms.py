"""Norms, and the condition number."""

from __future__ import annotations

import math

import numpy as np

from mlx_probe.core.column_texts import MEASURED, TEXTBOOK
from mlx_probe.core.records import Sketch
from mlx_probe.metrics.measurement import Measurement, Metric
from mlx_probe.metrics.spectrum.values import absolute, leading_values, singular_values

__all__ = ["NORMS"]


def spectral_norm(m: Measurement) -> float | None:
    """Largest singular value, sigma_1 (WeightWatcher's column of that name is its square)."""
    sigma = leading_values(m)
    return None if sigma is None else absolute(m, float(sigma[0]))


def frobenius_norm(m: Measurement) -> float | None:
    """Root of the sum of lambda."""
    if isinstance(m.spectrum, Sketch):
        return math.sqrt(m.moments.sum_of_squares)
    sigma = singular_values(m)
    if sigma is None or sigma[0] == 0:
        return None if sigma is None else 0.0
    # Scaled, so that the squares can neither overflow nor underflow.
    return absolute(m, float(sigma[0] * np.linalg.norm(sigma / sigma[0])))


def nuclear_norm(m: Measurement) -> float | None:
    """Sum of sigma."""
    sigma = singular_values(m)
    return None if sigma is None else absolute(m, float(sigma.sum()))


def sigma_min(m: Measurement) -> float | None:
    """Smallest singular value, sigma_M."""
    sigma = singular_values(m)
    return None if sigma is None else absolute(m, float(sigma[-1]))


def condition_number(m: Measurement) -> float | None:
    """sigma_1 / sigma_M; inf when sigma_M = 0."""
    sigma = singular_values(m)
    if sigma is None:
        return None
    # Python's floats divide by a subnormal to inf; numpy's warn.
    return float(sigma[0]) / float(sigma[-1]) if sigma[-1] > 0 else math.inf


NORMS: tuple[Metric, ...] = (
    Metric(
        spectral_norm,
        unit="weight",
        lower=0,
        title="Spectral norm",
        plain="The most by which the matrix can stretch a vector.",
        typical=MEASURED,
        caveat="A norm layer that follows can cancel it: compare layers of one block type, not "
        "models.",
        source=TEXTBOOK,
        formula="sigma_1",
    ),
    Metric(
        frobenius_norm,
        unit="weight",
        lower=0,
        title="Frobenius norm",
        plain="The length of all numbers of the matrix taken as one long vector.",
        typical=MEASURED,
        caveat="It grows with the number of elements: compare matrices of one shape, or use `rms`.",
        source=TEXTBOOK,
        formula="sqrt(sum lambda)",
    ),
    Metric(
        nuclear_norm,
        unit="weight",
        lower=0,
        title="Nuclear norm",
        plain="The strengths of all directions of the matrix, added up.",
        typical=MEASURED,
        caveat="It mixes size and evenness: divide by `frobenius_norm` to see the evenness.",
        source=TEXTBOOK,
        formula="sum sigma",
    ),
    Metric(
        sigma_min,
        unit="weight",
        lower=0,
        title="Smallest singular value",
        plain="The strength of the weakest direction of the matrix.",
        typical=MEASURED,
        caveat="Below `spectrum_error` times `spectral_norm` it is only known to be small.",
        source=TEXTBOOK,
        formula="sigma_M",
    ),
    Metric(
        condition_number,
        lower=1,
        title="Condition number",
        plain="How many times stronger the strongest direction is than the weakest.",
        typical=MEASURED,
        caveat="It depends on one smallest value, and square noise has thousands: do not rank "
        "models by it.",
        source=TEXTBOOK,
        formula="sigma_1 / sigma_M",
    ),
)

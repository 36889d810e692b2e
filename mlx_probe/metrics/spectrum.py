"""Ranks, norms and entropies from the singular values of a matrix.

sigma are the singular values, lambda = sigma^2, M = min(rows, cols), N = max(rows, cols). A
metric is None for tensors without a spectrum, if a zero matrix makes it 0/0, and if a method
that does not compute all singular values does not give it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.spectrum.methods import METHODS
from mlx_probe.compute.spectrum.rank import count_above, noise_threshold, numpy_tolerance
from mlx_probe.core.records import RankCount, Sketch, Spectrum
from mlx_probe.metrics.measurement import Measurement, Metric, MetricFamily

__all__ = ["SPECTRUM"]


def _sigma(m: Measurement) -> NDArray[np.float64] | None:
    """All singular values."""
    return m.spectrum.values if isinstance(m.spectrum, Spectrum) else None


def _leading(m: Measurement) -> NDArray[np.float64] | None:
    """The largest singular values: all of them, or those of a sketch."""
    return m.spectrum.leading if isinstance(m.spectrum, Sketch) else _sigma(m)


def _absolute(m: Measurement, value: float) -> float | None:
    """A singular value, or a sum of some, in the weight's units."""
    return m.absolute(value, m.spectrum.exponent if isinstance(m.spectrum, Spectrum) else 0)


def _shares(m: Measurement, power: int) -> NDArray[np.float64] | None:
    """sigma**power over its sum, descending; scaled first, so that squares cannot underflow."""
    sigma = _sigma(m)
    if sigma is None or sigma[0] == 0:
        return None

    def divide() -> NDArray[np.float64]:
        shares = (sigma / sigma[0]) ** power
        return np.asarray(shares / shares.sum())

    return m.once(f"shares of sigma to the power {power}", divide)


def _energy_shares(m: Measurement) -> NDArray[np.float64] | None:
    """Lambda over its sum for the leading values; a sketch takes the sum from the elements."""
    if not isinstance(m.spectrum, Sketch):
        return _shares(m, 2)
    norm = math.sqrt(m.moments.sum_of_squares)
    return (m.spectrum.leading / norm) ** 2 if norm > 0 else None


def _entropy(shares: NDArray[np.float64]) -> float:
    """-sum p ln p, with 0 ln 0 = 0."""
    p = shares[shares > 0]
    return float(-np.sum(p * np.log(p)))


def rank(m: Measurement) -> int | None:
    """Singular values above rank_tol times the largest."""
    if isinstance(m.spectrum, RankCount):
        return m.spectrum.rank
    sigma = _sigma(m)
    return None if sigma is None else count_above(sigma, m.rank_tol * sigma[0])


def rank_numpy(m: Measurement) -> int | None:
    """Singular values above N eps(float32) times the largest: numpy.linalg.matrix_rank's rule."""
    if not isinstance(m.spectrum, Spectrum):
        return None
    sigma = m.spectrum.values
    return count_above(sigma, numpy_tolerance(m.spectrum.rows, m.spectrum.cols) * sigma[0])


def noise_rank(m: Measurement) -> int | None:
    """Singular values above the rounding noise of value_dtype, s_q (sqrt(rows) + sqrt(cols))."""
    if not isinstance(m.spectrum, Spectrum):
        return None
    threshold = noise_threshold(m.moments, m.spectrum.rows, m.spectrum.cols)
    return None if threshold is None else count_above(m.spectrum.values, threshold)


def spectral_norm(m: Measurement) -> float | None:
    """Largest singular value, sigma_1 (WeightWatcher's column of that name is its square)."""
    sigma = _leading(m)
    return None if sigma is None else _absolute(m, float(sigma[0]))


def frobenius_norm(m: Measurement) -> float | None:
    """Root of the sum of lambda."""
    if isinstance(m.spectrum, Sketch):
        return math.sqrt(m.moments.sum_of_squares)
    sigma = _sigma(m)
    if sigma is None or sigma[0] == 0:
        return None if sigma is None else 0.0
    # Scaled, so that the squares can neither overflow nor underflow.
    return _absolute(m, float(sigma[0] * np.linalg.norm(sigma / sigma[0])))


def nuclear_norm(m: Measurement) -> float | None:
    """Sum of sigma."""
    sigma = _sigma(m)
    return None if sigma is None else _absolute(m, float(sigma.sum()))


def sigma_min(m: Measurement) -> float | None:
    """Smallest singular value, sigma_M."""
    sigma = _sigma(m)
    return None if sigma is None else _absolute(m, float(sigma[-1]))


def condition_number(m: Measurement) -> float | None:
    """sigma_1 / sigma_M; inf when sigma_M = 0."""
    sigma = _sigma(m)
    if sigma is None:
        return None
    # Python's floats divide by a subnormal to inf; numpy's warn.
    return float(sigma[0]) / float(sigma[-1]) if sigma[-1] > 0 else math.inf


def stable_rank(m: Measurement) -> float | None:
    """Sum of lambda over lambda_1."""
    shares = _energy_shares(m)
    return None if shares is None else float(1.0 / shares[0])


def effective_rank(m: Measurement) -> float | None:
    """exp(-sum p ln p), p = sigma / sum sigma (Roy and Vetterli 2007)."""
    if isinstance(m.spectrum, Sketch):
        return m.spectrum.effective_rank.value
    shares = _shares(m, 1)
    return None if shares is None else math.exp(_entropy(shares))


def effective_rank_error(m: Measurement) -> float | None:
    """Half-width of effective_rank's 95 % confidence interval; null where it is exact."""
    return m.spectrum.effective_rank.half_width if isinstance(m.spectrum, Sketch) else None


def spectral_entropy(m: Measurement) -> float | None:
    """-sum p ln p / ln M, p = lambda / sum lambda; undefined for M = 1."""
    if isinstance(m.spectrum, Sketch):
        return m.spectrum.spectral_entropy.value if m.spectrum.spectral_entropy else None
    shares = _shares(m, 2)
    if shares is None or len(shares) == 1:
        return None
    return _entropy(shares) / math.log(len(shares))


def spectral_entropy_error(m: Measurement) -> float | None:
    """Half-width of spectral_entropy's 95 % confidence interval; null where it is exact."""
    sketched = isinstance(m.spectrum, Sketch) and m.spectrum.spectral_entropy
    return sketched.half_width if sketched else None


def participation_ratio(m: Measurement) -> float | None:
    """(sum lambda)^2 / sum lambda^2."""
    shares = _shares(m, 2)
    return None if shares is None else float(1.0 / np.dot(shares, shares))


def _energy_rank(m: Measurement, share: float) -> int | None:
    if isinstance(m.spectrum, Sketch):
        return _sketched_energy_rank(m, m.spectrum, share)
    shares = _shares(m, 2)
    if shares is None:
        return None
    # A share of the last running sum: with any other sum, rounding could ask for more than all.
    energy = m.once("running energy", lambda: np.cumsum(shares))
    return int(np.searchsorted(energy, share * energy[-1])) + 1


def _sketched_energy_rank(m: Measurement, sketch: Sketch, share: float) -> int | None:
    """The same, if the leading values give one answer wherever they lie within their error."""
    off = sketch.error * sketch.leading[0]
    ranks = []
    for sigma in (np.maximum(sketch.leading - off, 0.0), sketch.leading + off):
        energy = np.cumsum(sigma**2) / m.moments.sum_of_squares
        ranks.append(int(np.searchsorted(energy, share)) + 1)
    return ranks[0] if ranks[0] == ranks[1] <= len(sketch.leading) else None


def energy_rank_90(m: Measurement) -> int | None:
    """Fewest leading lambda that hold 90 % of their sum."""
    return _energy_rank(m, 0.90)


def energy_rank_95(m: Measurement) -> int | None:
    """Fewest leading lambda that hold 95 % of their sum."""
    return _energy_rank(m, 0.95)


def energy_rank_99(m: Measurement) -> int | None:
    """Fewest leading lambda that hold 99 % of their sum."""
    return _energy_rank(m, 0.99)


def top1_energy(m: Measurement) -> float | None:
    """Share of lambda_1 in the sum of lambda."""
    shares = _energy_shares(m)
    return None if shares is None else min(float(shares[0]), 1.0)


def top10_energy(m: Measurement) -> float | None:
    """Share of the ten largest lambda in their sum."""
    shares = _energy_shares(m)
    if shares is None or (isinstance(m.spectrum, Sketch) and len(shares) < 10):
        return None
    return min(float(shares[:10].sum()), 1.0)


def spectrum_method(m: Measurement) -> str | None:
    """Algorithm, a key of `METHODS`."""
    return None if m.spectrum is None else m.spectrum.method


def spectrum_error(m: Measurement) -> float | None:
    """Bound on |sigma_i - exact| / sigma_1 for the method used; of a count, at its threshold."""
    return None if m.spectrum is None else m.spectrum.error


SPECTRUM = MetricFamily(
    "spectrum",
    "Spectrum",
    "How many directions does a matrix use, and how evenly?",
    (
        Metric(rank, type="int64", level="basic", lower=0),
        Metric(
            spectrum_method, type="string", level="basic", text=f"Algorithm: {', '.join(METHODS)}."
        ),
        Metric(spectrum_error, level="basic", lower=0),
        Metric(rank_numpy, type="int64", lower=0),
        Metric(noise_rank, type="int64", lower=0),
        Metric(spectral_norm, unit="weight", lower=0),
        Metric(frobenius_norm, unit="weight", lower=0),
        Metric(nuclear_norm, unit="weight", lower=0),
        Metric(sigma_min, unit="weight", lower=0),
        Metric(condition_number, lower=1),
        Metric(stable_rank, lower=1),
        Metric(effective_rank, lower=0.999999),
        Metric(effective_rank_error, lower=0),
        Metric(spectral_entropy, lower=0, upper=1.000001),
        Metric(spectral_entropy_error, lower=0),
        Metric(participation_ratio, lower=0.999999),
        Metric(energy_rank_90, type="int64", lower=1),
        Metric(energy_rank_95, type="int64", lower=1),
        Metric(energy_rank_99, type="int64", lower=1),
        Metric(top1_energy, lower=0, upper=1),
        Metric(top10_energy, lower=0, upper=1),
    ),
    source="Roy and Vetterli 2007 (effective rank)",
)

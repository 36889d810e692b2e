"""The spectrum of pure noise, and the directions that stand out from it.

The singular values of a matrix of independent elements with standard deviation s follow the
Marchenko-Pastur law. Their median gives s, because a few strong directions do not move it.
sigma are the singular values, lambda = sigma^2, M = min(rows, cols), N = max(rows, cols),
beta = M / N. All are None for vectors, and if the median lies below the method's resolution:
then there is no noise to compare with.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.spectrum.rank import count_above
from mlx_probe.core.column_texts import MEASURED, OF_SHORT_SIDE
from mlx_probe.core.records import Spectrum
from mlx_probe.metrics.measurement import Measurement, Metric, MetricFamily

__all__ = ["RANDOM_MATRIX", "noise_level", "null_singular_values"]

# The 99.5 % point of the law of the largest eigenvalue of real matrices.
# Source: Tracy and Widom 1996, "On orthogonal and symplectic matrix ensembles", Comm. Math.
# Phys. 177, 727-754.
TRACY_WIDOM_995 = 2.4224


def noise_level(sigma: NDArray[np.float64], rows: int, cols: int) -> float:
    """Standard deviation of the elements of the bulk, from the median singular value.

    Source: Gavish and Donoho 2014, "The optimal hard threshold for singular values is
    4/sqrt(3)", IEEE Trans. Inf. Theory 60(8), section III.E.

    Args:
        sigma: All singular values, descending, shape (M,).
        rows: Rows of the matrix.
        cols: Columns of the matrix.
    """
    short, long = sorted((rows, cols))
    return _middle(sigma) / math.sqrt(long * _median(short / long))


def _middle(sigma: NDArray[np.float64]) -> float:
    """Median of sorted values."""
    last = len(sigma) - 1
    return float((sigma[last // 2] + sigma[(last + 1) // 2]) / 2)


def null_singular_values(rows: int, cols: int, noise: float) -> NDArray[np.float64]:
    """Singular values of noise alone, each in the middle of its share of the law.

    Args:
        rows: Rows of the matrix.
        cols: Columns of the matrix.
        noise: Standard deviation of the elements.

    Returns:
        Descending, float64, shape (M,).
    """
    short, long = sorted((rows, cols))
    shares = (np.arange(short, dtype=np.float64) + 0.5) / short
    scaled = _quantile(shares, short / long)[::-1]
    return np.asarray(noise * np.sqrt(long * scaled))


def _quantile(shares: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """Quantiles of the Marchenko-Pastur law of unit variance, by bisection.

    Args:
        shares: Between 0 and 1, shape (n,).
        beta: Aspect ratio, in (0, 1].
    """
    low = np.full_like(shares, (1 - math.sqrt(beta)) ** 2)
    high = np.full_like(shares, (1 + math.sqrt(beta)) ** 2)
    for _ in range(60):
        middle = (low + high) / 2
        below = _distribution(middle, beta) < shares
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _distribution(x: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """Distribution function of the Marchenko-Pastur law of unit variance, inside its support.

    Integral of sqrt((b - x)(x - a)) / (2 pi beta x) from a = (1 - sqrt(beta))^2, in closed
    form. Source: Marchenko and Pastur 1967, Math. USSR Sbornik 1, 457 (the density).
    """
    a, b = (1 - math.sqrt(beta)) ** 2, (1 + math.sqrt(beta)) ** 2
    left, right = np.maximum(x - a, 0.0), np.maximum(b - x, 0.0)
    # Angles of the half circle over the support, for x and for its image under x -> ab / x.
    whole = np.arctan2(right - left, 2 * np.sqrt(left * right))
    image = np.arctan2(b * left - a * right, 2 * math.sqrt(a * b) * np.sqrt(left * right))
    area = np.sqrt(left * right) - (1 + beta) * whole - (1 - beta) * image
    return np.asarray((area + math.pi * beta) / (2 * math.pi * beta))


@lru_cache(maxsize=1024)
def _median(beta: float) -> float:
    return float(_quantile(np.array([0.5]), beta)[0])


def _spectrum(m: Measurement) -> Spectrum | None:
    """The spectrum, if its bulk is larger than the method's error."""
    spectrum = m.spectrum
    if not isinstance(spectrum, Spectrum) or len(spectrum.values) < 2:
        return None
    median = _middle(spectrum.values)
    return spectrum if median > spectrum.error * spectrum.values[0] else None


def _noise(spectrum: Spectrum) -> float:
    return noise_level(spectrum.values, spectrum.rows, spectrum.cols)


def _edge(spectrum: Spectrum) -> float:
    return _noise(spectrum) * (math.sqrt(spectrum.rows) + math.sqrt(spectrum.cols))


def mp_edge(m: Measurement) -> float | None:
    """Largest singular value of noise like the bulk's: s (sqrt(N) + sqrt(M)), s by the median."""
    spectrum = _spectrum(m)
    return None if spectrum is None else m.absolute(_edge(spectrum), spectrum.exponent)


def mp_softrank(m: Measurement) -> float | None:
    """mp_edge squared over lambda_1: 1 and more for noise, near 0 under strong directions.

    Source: Martin and Mahoney 2021, "Implicit self-regularization in deep neural networks",
    JMLR 22(165).
    """
    spectrum = _spectrum(m)
    return None if spectrum is None else (_edge(spectrum) / float(spectrum.values[0])) ** 2


def spikes(m: Measurement) -> int | None:
    """Singular values above the 99.5 % point of the largest one of noise like the bulk's.

    That is s sqrt(mu + 2.4224 scale), mu = (sqrt(N-1) + sqrt(M))^2 and scale = (sqrt(N-1) +
    sqrt(M)) (1/sqrt(N-1) + 1/sqrt(M))^(1/3): the Tracy-Widom law of the largest eigenvalue.

    It counted two in 400 Gaussian matrices of 128 to 1,024. One to five directions at 1.6 times
    the threshold of detection, (rows cols)^(1/4) s, were added to such matrices: the count was
    right in 97.5 % of 200 trials. The others were 128 x 128 and 128 x 256, where such directions
    move the median (benchmarks/nulls.py).

    Source: Johnstone 2001, "On the distribution of the largest eigenvalue in principal
    components analysis", Annals of Statistics 29(2), 295-327.
    """
    spectrum = _spectrum(m)
    if spectrum is None:
        return None
    short, long = sorted((spectrum.rows, spectrum.cols))
    # A square matrix of two has one degree of freedom on its long side.
    ends = math.sqrt(long - 1), math.sqrt(short)
    scale = sum(ends) * (1 / ends[0] + 1 / ends[1]) ** (1 / 3)
    threshold = math.sqrt(sum(ends) ** 2 + TRACY_WIDOM_995 * scale)
    return count_above(spectrum.values, _noise(spectrum) * threshold)


def gd_rank(m: Measurement) -> int | None:
    """Singular values worth keeping against noise of unknown level (Gavish and Donoho 2014).

    Those above (0.56 beta^3 - 0.95 beta^2 + 1.82 beta + 1.43) times the median: the threshold
    with the least asymptotic squared error of a truncated SVD.
    """
    spectrum = _spectrum(m)
    if spectrum is None:
        return None
    short, long = sorted((spectrum.rows, spectrum.cols))
    beta = short / long
    factor = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
    return count_above(spectrum.values, factor * _middle(spectrum.values))


RANDOM_MATRIX = MetricFamily(
    "random_matrix",
    "Random-matrix tests",
    "What stands out from noise?",
    (
        Metric(
            mp_edge,
            unit="weight",
            lower=0,
            title="Noise edge",
            plain="Where the directions of pure noise as strong as this matrix's bulk would end.",
            typical=MEASURED,
            caveat="It assumes a bulk: a spectrum that decays smoothly has none, and the edge is "
            "then a formality.",
            source="Marchenko and Pastur 1967; Gavish and Donoho 2014 (s)",
            formula="s (sqrt(N) + sqrt(M)), s = median(sigma) / sqrt(N median of the "
            "Marchenko-Pastur law)",
        ),
        Metric(
            mp_softrank,
            lower=0,
            title="Soft rank",
            plain="How close the matrix is to noise: about 1 for noise, near 0 if something "
            "stands far out.",
            typical=MEASURED,
            caveat="One strong direction is enough for a low value, whatever the rest is like.",
            source="Martin and Mahoney 2021",
            formula="mp_edge^2 / lambda_1",
        ),
        Metric(
            spikes,
            type="int64",
            lower=0,
            title="Spikes",
            plain="How many directions are stronger than noise could make them.",
            typical=OF_SHORT_SIDE,
            caveat="Single huge elements (see `kurtosis`) and spectra without a bulk make spikes "
            "that are no learned direction.",
            source="Johnstone 2001; Tracy and Widom 1996",
            formula="#{sigma > s sqrt(mu + 2.4224 scale)}, mu = (sqrt(N-1) + sqrt(M))^2, scale = "
            "(sqrt(N-1) + sqrt(M)) (1/sqrt(N-1) + 1/sqrt(M))^(1/3)",
        ),
        Metric(
            gd_rank,
            type="int64",
            lower=0,
            title="Directions above noise",
            plain="How many directions are worth keeping if the rest is noise.",
            typical=OF_SHORT_SIDE,
            caveat="A trained matrix is not low rank plus white noise: expect no model to work "
            "that is truncated to it.",
            source="Gavish and Donoho 2014",
            formula="#{sigma > (0.56 beta^3 - 0.95 beta^2 + 1.82 beta + 1.43) median(sigma)}",
        ),
    ),
    source="Marchenko and Pastur 1967; Johnstone 2001; Gavish and Donoho 2014",
)

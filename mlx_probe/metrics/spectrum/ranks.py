"""Ranks by a threshold, and how the singular values were computed."""

from __future__ import annotations

from mlx_probe.compute.spectrum.methods import METHODS
from mlx_probe.compute.spectrum.rank import count_above, noise_threshold, numpy_tolerance
from mlx_probe.core.column_texts import HERE, MEASURED, OF_SHORT_SIDE
from mlx_probe.core.records import RankCount, Spectrum
from mlx_probe.metrics.measurement import Measurement, Metric
from mlx_probe.metrics.spectrum.values import singular_values

__all__ = ["RANKS"]


def rank(m: Measurement) -> int | None:
    """Singular values above rank_tol times the largest."""
    if isinstance(m.spectrum, RankCount):
        return m.spectrum.rank
    sigma = singular_values(m)
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


def spectrum_method(m: Measurement) -> str | None:
    """Algorithm, a key of `METHODS`."""
    return None if m.spectrum is None else m.spectrum.method


def spectrum_error(m: Measurement) -> float | None:
    """Bound on |sigma_i - exact| / sigma_1 for the method used; of a count, at its threshold."""
    return None if m.spectrum is None else m.spectrum.error


RANKS: tuple[Metric, ...] = (
    Metric(
        rank,
        type="int64",
        level="basic",
        lower=0,
        title="Rank",
        plain="How many independent directions the matrix has, counting even very weak ones.",
        typical=OF_SHORT_SIDE,
        caveat="Noise of 1e-5 makes it full: for directions that matter see `effective_rank` and "
        "`gd_rank`.",
        source="LAPACK dsyevd or the compiled solver; tolerance defined here",
        formula="#{sigma > rank_tol sigma_1}",
    ),
    Metric(
        spectrum_method,
        type="string",
        level="basic",
        text=f"Algorithm: {', '.join(METHODS)}.",
        title="Method",
        plain="How the singular values, or the rank, were computed.",
        typical="`gram_native_f64` where the kernels are compiled, `gram_f64` without them, "
        "`cholesky_f64` with the basic metric set.",
        caveat="`block_lanczos` gives estimates: compare no decimals of such rows with those of "
        "exact ones.",
        source="LAPACK, and methods defined here",
    ),
    Metric(
        spectrum_error,
        level="basic",
        lower=0,
        title="Error bound",
        plain="How wrong a singular value can be at most, as a share of the largest one.",
        typical=MEASURED,
        caveat="It is a bound, usually far above the true error, and says nothing about the "
        "rounding of the file itself.",
        source="Weyl 1912 (perturbation of eigenvalues); constants defined here",
    ),
    Metric(
        rank_numpy,
        type="int64",
        lower=0,
        title="Rank by numpy",
        plain="The rank that numpy would report for the same numbers in float32.",
        typical=OF_SHORT_SIDE,
        caveat="The tolerance grows with the long side, so it can drop where nothing but the "
        "shape changed.",
        source="numpy.linalg.matrix_rank",
        formula="#{sigma > N eps(float32) sigma_1}",
    ),
    Metric(
        noise_rank,
        type="int64",
        lower=0,
        title="Rank above rounding",
        plain="How many directions stand above the rounding of the number format in the file.",
        typical=OF_SHORT_SIDE,
        caveat="The error of quantization is not in it: for decoded GGUF and MLX weights it is "
        "practically `rank`.",
        source=HERE,
        formula="#{sigma > s_q (sqrt(rows) + sqrt(cols))}, s_q^2 = mean of ulp(x)^2 / 12",
    ),
)

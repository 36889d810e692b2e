"""Power-law exponents of the spectrum's tail, with the columns that say how far to trust them.

The law is fitted to lambda = sigma^2, with every value as a candidate for its beginning. Noise
has an exponent too: look at alpha_stderr, alpha_reliable and `spikes` before alpha. The columns
that begin with ww_ keep WeightWatcher's conventions, for comparison with its tables. All are
None for vectors, and without two different eigenvalues.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.column_texts import HERE, MEASURED, OF_SHORT_SIDE, TRUE_SHARE
from mlx_probe.core.records import Spectrum
from mlx_probe.core.scaling import times_power_of_two, unit_exponent
from mlx_probe.metrics.measurement import Measurement, Metric, MetricFamily
from mlx_probe.metrics.power_law import PowerLaw, fit_power_law
from mlx_probe.metrics.resampling import Bootstrap, Interval

__all__ = ["HEAVY_TAIL"]

# Below this share of lambda_1 an eigenvalue is rounding of float64.
_KEPT = 1e-12

# WeightWatcher's cut, in the weight's own units squared.
_WW_KEPT = 1e-5

# A reliable tail has at least this many values, and an interval at most this wide.
_FEWEST, _WIDEST = 20, 2.0


def _eigenvalues(m: Measurement) -> tuple[NDArray[np.float64], int]:
    """Lambda ascending in units of 4**exponent, and the exponent; empty without a spectrum."""

    def square() -> tuple[NDArray[np.float64], int]:
        if not isinstance(m.spectrum, Spectrum):
            return np.empty(0), 0
        sigma = m.spectrum.values[::-1]
        exponent = unit_exponent(float(sigma[-1]))
        if exponent:
            sigma = np.ldexp(sigma, -exponent)
        return sigma**2, m.spectrum.exponent + exponent

    return m.once("lambda", square)


def _tail_values(m: Measurement) -> NDArray[np.float64]:
    def cut() -> NDArray[np.float64]:
        values, _ = _eigenvalues(m)
        return values[values > _KEPT * values[-1]] if values.size else values

    return m.once("tail of lambda", cut)


def _fit(m: Measurement) -> PowerLaw | None:
    return m.once("power law", lambda: fit_power_law(_tail_values(m)))


def _ww_fit(m: Measurement) -> PowerLaw | None:
    return m.once("power law, WeightWatcher's cut", lambda: _fit_above_cut(m))


def _fit_above_cut(m: Measurement) -> PowerLaw | None:
    values, exponent = _eigenvalues(m)
    kept = values[values > times_power_of_two(_WW_KEPT, -2 * exponent)]
    # Usually both cuts keep the same values, and the fit has been made.
    if len(kept) == len(_tail_values(m)):
        return _fit(m)
    return fit_power_law(kept)


def _bootstrap(m: Measurement) -> Bootstrap | None:
    def prepare() -> Bootstrap | None:
        return Bootstrap(_tail_values(m), m.seed) if _fit(m) else None

    return m.once("resamples of alpha", prepare)


def _interval(m: Measurement) -> Interval | None:
    bootstrap = _bootstrap(m)
    return bootstrap.interval() if bootstrap else None


def alpha(m: Measurement) -> float | None:
    """Exponent of the power law that fits the tail of lambda best (Clauset et al. 2009).

    1 + n / sum ln(lambda / xmin) over the n eigenvalues from xmin on; of all eigenvalues above
    1e-12 lambda_1 the one with the least Kolmogorov-Smirnov distance is xmin.
    """
    fit = _fit(m)
    return fit.alpha if fit else None


def alpha_stderr(m: Measurement) -> float | None:
    """Standard error of alpha for its xmin: (alpha - 1) / sqrt(alpha_tail_count)."""
    fit = _fit(m)
    return fit.stderr if fit else None


def alpha_xmin(m: Measurement) -> float | None:
    """Smallest lambda of the fitted tail."""
    fit = _fit(m)
    return m.absolute(fit.xmin, _eigenvalues(m)[1], power=2) if fit else None


def alpha_tail_count(m: Measurement) -> int | None:
    """Eigenvalues in the fitted tail."""
    fit = _fit(m)
    return fit.tail_count if fit else None


def alpha_D(m: Measurement) -> float | None:  # noqa: N802 (D is its name in the literature)
    """Kolmogorov-Smirnov distance of the fitted tail from the law."""
    fit = _fit(m)
    return fit.distance if fit else None


def alpha_low(m: Measurement) -> float | None:
    """Lower end of alpha's 90 % interval, from 99 seeded resamples with an xmin each."""
    interval = _interval(m)
    return interval.low if interval else None


def alpha_high(m: Measurement) -> float | None:
    """Upper end of alpha's 90 % interval; see alpha_low."""
    interval = _interval(m)
    return interval.high if interval else None


def alpha_reliable(m: Measurement) -> bool | None:
    """Whether the tail has 20 values and alpha's 90 % interval is at most 2 wide.

    The interval is that of alpha_low and alpha_high, which contains the uncertainty of xmin:
    one answer whatever the metric set.
    """
    fit = _fit(m)
    if fit is None or fit.tail_count < _FEWEST:
        return None if fit is None else False
    bootstrap = _bootstrap(m)
    return bootstrap is not None and bootstrap.is_within(_WIDEST)


def ww_alpha(m: Measurement) -> float | None:
    """WeightWatcher's alpha: the same search over the lambda above 1e-5 (its absolute cut)."""
    fit = _ww_fit(m)
    return fit.alpha if fit else None


def ww_alpha_D(m: Measurement) -> float | None:  # noqa: N802 (D is its name in the literature)
    """WeightWatcher's D: distance of the tail of ww_alpha."""
    fit = _ww_fit(m)
    return fit.distance if fit else None


def ww_alpha_xmin(m: Measurement) -> float | None:
    """WeightWatcher's xmin: smallest lambda of the tail of ww_alpha."""
    fit = _ww_fit(m)
    return m.absolute(fit.xmin, _eigenvalues(m)[1], power=2) if fit else None


def alpha_hat(m: Measurement) -> float | None:
    """ww_alpha times log10(lambda_1): WeightWatcher's alpha_weighted.

    Source: Martin, Peng and Mahoney 2021, "Predicting trends in the quality of
    state-of-the-art neural networks", Nature Communications 12, 4122.
    """
    fit = _ww_fit(m)
    if fit is None:
        return None
    values, exponent = _eigenvalues(m)
    return fit.alpha * (math.log10(values[-1]) + 2 * exponent * math.log10(2))


def log_alpha_norm(m: Measurement) -> float | None:
    """log10 of the sum of lambda^ww_alpha: WeightWatcher's log_alpha_norm.

    Source: Martin, Peng and Mahoney 2021, as `alpha_hat`.
    """
    fit = _ww_fit(m)
    if fit is None:
        return None
    # Relative to the largest, or high powers leave float64's range.
    values, exponent = _eigenvalues(m)
    rest = float(np.sum((values / values[-1]) ** fit.alpha))
    largest = math.log10(values[-1]) + 2 * exponent * math.log10(2)
    return fit.alpha * largest + math.log10(rest)


HEAVY_TAIL = MetricFamily(
    "heavy_tail",
    "Heavy tails",
    "Does the tail of the spectrum follow a power law?",
    (
        Metric(
            alpha,
            lower=1,
            title="Power-law exponent",
            plain="How fast the strengths of the strongest directions fall off: a small value "
            "means a heavy tail.",
            typical=MEASURED,
            caveat="Noise and spectra that follow no power law have an alpha too: read "
            "`alpha_reliable` and the interval first.",
            source="Clauset, Shalizi and Newman 2009; Martin and Mahoney 2021",
            formula="1 + n / sum ln(lambda / xmin), over the n lambda >= xmin; the xmin with the "
            "least D",
        ),
        Metric(
            alpha_stderr,
            lower=0,
            title="Standard error of alpha",
            plain="How uncertain the exponent would be if the beginning of the tail were known.",
            typical=MEASURED,
            caveat="Too small as a rule, for the tail is chosen from the same data: use the "
            "interval.",
            source="Clauset, Shalizi and Newman 2009",
            formula="(alpha - 1) / sqrt(alpha_tail_count)",
        ),
        Metric(
            alpha_xmin,
            unit="weight²",
            lower=0,
            title="Beginning of the tail",
            plain="The smallest squared strength that the fitted power law covers.",
            typical=MEASURED,
            caveat="It scales with the square of the weights, and a resample of the same values "
            "can move it far.",
            source="Clauset, Shalizi and Newman 2009",
            formula="the lambda with the least alpha_D",
        ),
        Metric(
            alpha_tail_count,
            type="int64",
            lower=2,
            title="Values in the tail",
            plain="How many directions the power law was fitted to.",
            typical=OF_SHORT_SIDE,
            caveat="A fit to fewer than 20 values is never called reliable here, however small "
            "its distance.",
            source="Clauset, Shalizi and Newman 2009",
            formula="#{lambda >= alpha_xmin}",
        ),
        Metric(
            alpha_D,
            lower=0,
            upper=1,
            title="Distance of the fit",
            plain="How badly the power law fits the tail: 0 for perfectly.",
            typical=MEASURED,
            caveat="A short tail is fitted well by almost any law, so read it together with "
            "`alpha_tail_count`.",
            source="Clauset, Shalizi and Newman 2009",
            formula="Kolmogorov-Smirnov distance between the lambda >= xmin and the law",
        ),
        Metric(
            alpha_reliable,
            type="bool",
            title="Reliable fit",
            plain="Whether the exponent is known well enough to be compared with others.",
            typical=TRUE_SHARE,
            caveat="It says that the exponent is narrowly known, not that the tail is a power law.",
            source=HERE,
            formula="alpha_tail_count >= 20 and alpha_high - alpha_low <= 2",
        ),
        Metric(
            alpha_low,
            level="full",
            lower=1,
            title="Alpha, lower end",
            plain="The exponent may well be as low as this.",
            typical=MEASURED,
            caveat="Where the tail is short or no power law, the interval says how far the fit "
            "moves and covers no truth.",
            source="Efron 1979 (bootstrap); 99 resamples, defined here",
            formula="the 5th smallest of 99 resampled alpha",
        ),
        Metric(
            alpha_high,
            level="full",
            lower=1,
            title="Alpha, upper end",
            plain="The exponent may well be as high as this.",
            typical=MEASURED,
            caveat="Where the tail is short or no power law, the interval says how far the fit "
            "moves and covers no truth.",
            source="Efron 1979 (bootstrap); 99 resamples, defined here",
            formula="the 5th largest of 99 resampled alpha",
        ),
        Metric(
            ww_alpha,
            lower=1,
            title="WeightWatcher's alpha",
            plain="The exponent as the tool WeightWatcher computes it, for comparison with its "
            "tables.",
            typical=MEASURED,
            caveat="Its cut is absolute, so scaling the weights can change it; it has no interval "
            "here.",
            source="WeightWatcher 0.7.7; Martin, Peng and Mahoney 2021",
            formula="as alpha, over the lambda > 1e-5",
        ),
        Metric(
            ww_alpha_D,
            lower=0,
            upper=1,
            title="WeightWatcher's D",
            plain="How badly WeightWatcher's power law fits the tail: 0 for perfectly.",
            typical=MEASURED,
            caveat="As with `alpha_D`, a short tail has a small distance by itself.",
            source="WeightWatcher 0.7.7",
            formula="as alpha_D, for the tail of ww_alpha",
        ),
        Metric(
            ww_alpha_xmin,
            unit="weight²",
            lower=0,
            title="WeightWatcher's xmin",
            plain="The smallest squared strength that WeightWatcher's power law covers.",
            typical=MEASURED,
            caveat="It scales with the square of the weights.",
            source="WeightWatcher 0.7.7",
            formula="as alpha_xmin, over the lambda > 1e-5",
        ),
        Metric(
            alpha_hat,
            title="Weighted alpha",
            plain="WeightWatcher's exponent times the logarithm of the largest squared strength.",
            typical=MEASURED,
            caveat="It depends on the scale: doubling one layer and halving the next changes it "
            "and not the model.",
            source="Martin, Peng and Mahoney 2021",
            formula="ww_alpha log10(lambda_1)",
        ),
        Metric(
            log_alpha_norm,
            title="Log alpha norm",
            plain="A size of the matrix that counts strong directions the more, the larger its "
            "exponent.",
            typical=MEASURED,
            caveat="It grows with the scale of the weights and with alpha, reliable or not.",
            source="Martin, Peng and Mahoney 2021",
            formula="log10(sum lambda^ww_alpha)",
        ),
    ),
    source="Clauset, Shalizi and Newman 2009; Martin, Peng and Mahoney 2021 (alpha_hat)",
)

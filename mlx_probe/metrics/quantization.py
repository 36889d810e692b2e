"""How well a matrix would survive rounding to few bits.

Round to nearest, affine, groups of 64 along the last axis as MLX stores them, scale and bias
in the weight's type. Null where the last axis is not a multiple of 64, for weights that are
already packed, and for integers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.column_texts import HERE, MEASURED
from mlx_probe.metrics.measurement import Measurement, Metric, MetricFamily

__all__ = ["QUANTIZATION"]


def _nrmse(m: Measurement, bits: int) -> float | None:
    if m.quantization is None or bits not in m.quantization.squared_error:
        return None
    error, energy = m.quantization.squared_error[bits], m.moments.sum_of_squares
    if m.moments.exponent < 0:
        # Far below float32: all elements become zeros.
        return 1.0
    # The error is not finite for float64 weights beyond float32, which cannot be quantized.
    if not (energy > 0 and math.isfinite(error)):
        return None
    return math.sqrt(error / energy)


def q4_nrmse(m: Measurement) -> float | None:
    """RMSE of 4-bit affine rounding over the RMS of the weight."""
    return _nrmse(m, 4)


def q8_nrmse(m: Measurement) -> float | None:
    """RMSE of 8-bit affine rounding over the RMS of the weight."""
    return _nrmse(m, 8)


def _outliers(m: Measurement, largest: NDArray[np.float64], count: int) -> int:
    """Channels with a larger magnitude than Gaussian data of the same size would have.

    The largest of n Gaussian magnitudes is near sqrt(2 ln n); hardly any exceeds twice that.
    """
    threshold = 2 * math.sqrt(2 * math.log(count)) * math.sqrt(m.moments.mean_square)
    if m.moments.exponent:
        largest = np.ldexp(largest, -m.moments.exponent)
    return int(np.count_nonzero(largest > threshold))


def outlier_columns(m: Measurement) -> int | None:
    """Columns (input channels) with max |x| > 2 sqrt(2 ln count) rms of the matrix."""
    q = m.quantization
    return None if q is None else _outliers(m, q.col_max, len(q.row_max))


def outlier_rows(m: Measurement) -> int | None:
    """Rows (output channels) with max |x| > 2 sqrt(2 ln count) rms of the matrix."""
    q = m.quantization
    return None if q is None else _outliers(m, q.row_max, len(q.col_max))


QUANTIZATION = MetricFamily(
    "quantization",
    "Quantization sensitivity",
    "What would rounding to 4 or 8 bits cost?",
    (
        Metric(
            q4_nrmse,
            level="full",
            lower=0,
            title="4-bit error",
            plain="How much rounding to 4 bits would change the weights, relative to their size.",
            typical=MEASURED,
            caveat="It is an error of the weights by rounding to nearest, not of the answers: AWQ "
            "and GPTQ do better.",
            source="MLX's affine quantization, groups of 64",
            formula="sqrt(sum (x - q(x))^2 / sum x^2)",
        ),
        Metric(
            q8_nrmse,
            level="full",
            lower=0,
            title="8-bit error",
            plain="How much rounding to 8 bits would change the weights, relative to their size.",
            typical=MEASURED,
            caveat="It is an error of the weights, not of the model's answers.",
            source="MLX's affine quantization, groups of 64",
            formula="sqrt(sum (x - q(x))^2 / sum x^2)",
        ),
        Metric(
            outlier_columns,
            type="int64",
            level="full",
            lower=0,
            title="Outlier columns",
            plain="How many input channels hold a number far larger than chance would give.",
            typical=MEASURED,
            caveat="It is a count that grows with the width, and one huge element is enough for a "
            "channel to count.",
            source=HERE,
            formula="#{columns with max |x| > 2 sqrt(2 ln rows) rms}",
        ),
        Metric(
            outlier_rows,
            type="int64",
            level="full",
            lower=0,
            title="Outlier rows",
            plain="How many output channels hold a number far larger than chance would give.",
            typical=MEASURED,
            caveat="It is a count that grows with the width, and one huge element is enough for a "
            "channel to count.",
            source=HERE,
            formula="#{rows with max |x| > 2 sqrt(2 ln cols) rms}",
        ),
    ),
)

"""How large a difference rounding alone makes."""

from __future__ import annotations

import math

import numpy as np

from mlx_probe.analysis.compare.blocks import WeightReader
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.core.dtypes import FLOAT_FORMATS
from mlx_probe.core.records import Moments
from mlx_probe.core.scaling import times_power_of_two

__all__ = ["rounding_edge"]


def rounding_edge(reader: WeightReader) -> float:
    """Spectral norm to expect of the rounding errors of a matrix.

    max_i sqrt(sum_j v_ij) + max_j sqrt(sum_i v_ij), v = ulp^2 / 12 the variance of rounding to
    nearest, in the narrowest format that holds every element exactly (`Moments.value_dtype`).
    The leading term of the bound on the norm of a matrix of independent entries of different
    variances (Bandeira and van Handel 2016, Annals of Probability 44, theorem 1.1); for equal
    ones it is the edge of METRICS' `noise_rank`. That edge is too low for rows and columns of
    large elements, whose errors are larger as well.

    Args:
        reader: A finite matrix of floats; read twice.
    """
    moments = _moments(reader)
    if moments.value_dtype is None:
        return 0.0
    form, unit = FLOAT_FORMATS[moments.value_dtype], moments.exponent
    across, largest = np.zeros(reader.weight.short), 0.0
    for x in reader.lines():
        exponent = np.maximum(np.frexp(x)[1] - 1, form.min_exponent) - (form.precision - 1)
        # In the unit of extreme elements, where no square leaves the range.
        with np.errstate(under="ignore"):
            variance = np.where(x == 0, 0.0, np.ldexp(1 / 12, 2 * (exponent - unit)))
        across += variance.sum(axis=0)
        largest = max(largest, float(variance.sum(axis=1).max()))
    edge = math.sqrt(largest) + math.sqrt(float(across.max()))
    return times_power_of_two(edge, unit)


def _moments(reader: WeightReader) -> Moments:
    backend, dtype = NumpyBackend(), reader.weight.chunk_dtype
    elements = backend.element_pass(dtype, 0.0)
    for stored in reader.chunks():
        elements.add(backend.load(stored, dtype))
    return elements.finish()

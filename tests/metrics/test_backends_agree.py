"""What two backends may differ by, column by column."""

import math

import numpy as np
import pytest
from matrices import measure, store

from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.metrics import METRICS, compute_metrics

SHAPES = {"tall": (1200, 64), "square": (96, 96), "wide": (64, 1300), "vector": (3000,)}
RELATIVE = 1e-6
# Quantiles of wide types come from the same bins, clipped to the same ends.
EQUAL = {"sparsity", "zero_fraction", "min", "max", "abs_max"}
EQUAL |= {"q001", "q01", "q50", "q99", "q999"}
# An absolute part where a column cancels: 1e-6 of the spread, of 1 and of 3 (see the moments),
# and 2e-7 of sigma_1 for a singular value.
ABSOLUTE = {
    "mean": lambda row: RELATIVE * row["std"],
    "skewness": lambda row: RELATIVE,
    "kurtosis": lambda row: 3 * RELATIVE,
    "sigma_min": lambda row: 2e-7 * row["spectral_norm"],
}
# How each backend came to its numbers; their bounds are tested against LAPACK.
OWN = {"spectrum_error", "spectrum_method"}


def assert_agree(row, expected):
    for metric in METRICS:
        name = metric.name
        value, other = expected[name], row[name]
        if name in OWN:
            assert (other is None) == (value is None), name
        elif metric.type != "float64" or value is None or name in EQUAL:
            assert other == value, name
        else:
            absolute = ABSOLUTE[name](expected) if name in ABSOLUTE else 0.0
            assert math.isclose(other, value, rel_tol=RELATIVE, abs_tol=absolute), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("scale", [1.0, 0.02])
def test_on_random_tensors_of_every_type(backend, dtype, shape, scale, rng):
    x = rng.standard_normal(shape) * (1.0 if DTYPES[dtype].kind == "float" else 50.0)
    x = np.abs(x) if dtype.startswith("U") else x
    words = store(scale * x, dtype)[0] if dtype != "BOOL" else (x > 0).astype(np.uint8)
    expected = compute_metrics(measure(NumpyBackend(), words, dtype), "full")
    assert_agree(compute_metrics(measure(backend, words, dtype), "full"), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_on_damaged_tensors(backend, dtype, bad, rng):
    x = rng.standard_normal((200, 64))
    x[rng.integers(0, 200, 9), rng.integers(0, 64, 9)] = bad
    words, _ = store(x, dtype)
    expected = compute_metrics(measure(NumpyBackend(), words, dtype), "full")
    assert expected["nan_count"] + expected["inf_count"] == np.count_nonzero(~np.isfinite(x))
    assert expected["rank"] is None
    assert_agree(compute_metrics(measure(backend, words, dtype), "full"), expected)

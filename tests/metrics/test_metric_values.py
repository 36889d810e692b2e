"""Every metric on numbers small enough to work out by hand."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mlx_probe.core.records import (
    METRIC_LEVELS,
    QUANTILES,
    Estimate,
    Moments,
    QuantizationError,
    RankCount,
    Sketch,
    Spectrum,
)
from mlx_probe.metrics import FAMILIES, METRICS, Measurement, compute_metrics, metrics_of_level

MOMENTS = Moments(
    count=13,
    nan_count=2,
    inf_count=1,
    zero_count=3,
    small_count=4,
    mean=3.0,
    m2=16.0,
    m3=32.0,
    m4=1024.0,
    min=-7.0,
    max=5.0,
    quantiles=(-6.0, -5.0, 1.0, 4.0, 4.5),
    value_dtype="BF16",
    rounding_variance=0.25,
)
# lambda = 16, 9, 0 of a 3 x 4 matrix.
SPECTRUM = Spectrum(np.array([4.0, 3.0, 0.0]), 3, 4, "gram_f64", 1e-9)
# Threshold for 4 elements in a row: 2 sqrt(2 ln 4) 5 = 16.65; for 3 in a column: 14.82.
ROUNDING = QuantizationError(
    {4: 62.5, 8: 2.5}, np.array([16.0, 17.0, 1.0]), np.array([14.0, 15.0, 16.0, 1.0])
)
# Of the Marchenko-Pastur law, by quadrature of its density.
MEDIAN_OF_3_4 = 0.7429484870
BY_HAND = {
    "mean": 3.0,
    "std": 4.0,
    "var": 16.0,
    "sparsity": 0.4,
    "min": -7.0,
    "max": 5.0,
    "abs_max": 7.0,
    "rms": 5.0,
    "skewness": 0.5,
    "kurtosis": 1.0,
    "zero_fraction": 0.3,
    "nan_count": 2,
    "inf_count": 1,
    "q001": -6.0,
    "q01": -5.0,
    "q50": 1.0,
    "q99": 4.0,
    "q999": 4.5,
    "value_dtype": "BF16",
    "rank": 2,
    "spectrum_method": "gram_f64",
    "spectrum_error": 1e-9,
    "rank_numpy": 2,
    # 0.5 (sqrt(3) + sqrt(4)) = 1.87
    "noise_rank": 2,
    "spectral_norm": 4.0,
    "frobenius_norm": 5.0,
    "nuclear_norm": 7.0,
    "sigma_min": 0.0,
    "condition_number": math.inf,
    "stable_rank": 25 / 16,
    "effective_rank": (7 / 4) ** (4 / 7) * (7 / 3) ** (3 / 7),
    "spectral_entropy": -(0.64 * math.log(0.64) + 0.36 * math.log(0.36)) / math.log(3),
    # Exact numbers have no confidence interval.
    "effective_rank_error": None,
    "spectral_entropy_error": None,
    "participation_ratio": 625 / 337,
    "energy_rank_90": 2,
    "energy_rank_95": 2,
    "energy_rank_99": 2,
    "top1_energy": 0.64,
    "top10_energy": 1.0,
    # Of 16 and 9 only 9 has a tail: alpha = 1 + 2 / ln(16/9), and exp(-2) instead of 1/2 at 16.
    "alpha": 1 + 2 / math.log(16 / 9),
    "alpha_stderr": math.sqrt(2) / math.log(16 / 9),
    "alpha_xmin": 9.0,
    "alpha_tail_count": 2,
    "alpha_D": 0.5 - math.exp(-2),
    "alpha_reliable": False,
    # A resample of two values may have only one of them.
    "alpha_low": None,
    "alpha_high": None,
    "ww_alpha": 1 + 2 / math.log(16 / 9),
    "ww_alpha_D": 0.5 - math.exp(-2),
    "ww_alpha_xmin": 9.0,
    "log_alpha_norm": math.log10(
        16 ** (1 + 2 / math.log(16 / 9)) + 9 ** (1 + 2 / math.log(16 / 9))
    ),
    "alpha_hat": (1 + 2 / math.log(16 / 9)) * math.log10(16),
    "mp_edge": 3 / math.sqrt(4 * MEDIAN_OF_3_4) * (2 + math.sqrt(3)),
    "mp_softrank": (3 / math.sqrt(4 * MEDIAN_OF_3_4) * (2 + math.sqrt(3)) / 4) ** 2,
    "spikes": 0,
    "gd_rank": 0,
    "q4_nrmse": 0.5,
    "q8_nrmse": 0.1,
    "outlier_columns": 2,
    "outlier_rows": 1,
    # 1 is more than 1 % of the medians, 16 and 14.5.
    "dead_columns": 0,
    "dead_rows": 0,
}
TYPES = {"int64": int, "float64": float, "string": str, "bool": bool}


def with_sigma(*sigma, rank_tol=1e-6):
    spectrum = Spectrum(np.array(sigma, float), len(sigma), len(sigma), "gram_f64", 0.0)
    return compute_metrics(Measurement(MOMENTS, rank_tol, spectrum), "full")


@pytest.fixture(scope="module")
def row():
    # Its rounding errors are over 10 finite elements with mean square 25.
    return compute_metrics(Measurement(MOMENTS, 1e-6, SPECTRUM, ROUNDING), "full")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_by_hand(row, metric):
    value, expected = row[metric.name], BY_HAND[metric.name]
    if expected is None:
        assert value is None
        return
    rel = 1e-9 if metric.family == "random_matrix" else 1e-14
    assert value == (expected if isinstance(expected, str) else pytest.approx(expected, rel=rel))
    assert type(value) is TYPES[metric.type]
    if metric.type not in ("string", "bool"):
        assert metric.lower is None or value >= metric.lower
        assert metric.upper is None or value <= metric.upper


def test_names_are_unique_and_described():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        column = metric.column
        assert (column.name, column.type) == (metric.name, metric.type)
        assert column.description.endswith(".") or ";" in column.description


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_has_what_its_module_defines(family):
    assert {metric.family for metric in family.metrics} == {family.name}
    assert family.title[0].isupper()
    assert family.description.endswith("?")


def test_levels_are_nested_and_keep_the_order():
    names = [[metric.name for metric in metrics_of_level(level)] for level in METRIC_LEVELS]
    for smaller, larger in pairwise(names):
        assert smaller == [name for name in larger if name in smaller]
        assert len(smaller) < len(larger)
    assert names[-1] == [metric.name for metric in METRICS]
    assert {"rank", "mean", "std", "var", "sparsity"} <= set(names[0])


def test_without_a_spectrum_only_the_moments_are_there():
    row = compute_metrics(Measurement(MOMENTS, 1e-6), "full")
    for metric in METRICS:
        assert (row[metric.name] is None) == (metric.family != "moments"), metric.name


def test_an_integer_tensor_has_no_value_dtype_and_no_noise():
    moments = Moments(**{**vars(MOMENTS), "value_dtype": None, "rounding_variance": None})
    row = compute_metrics(Measurement(moments, 1e-6, SPECTRUM), "full")
    assert row["value_dtype"] is row["noise_rank"] is None
    assert row["rank"] == 2


def test_nothing_finite_leaves_only_the_counts():
    nothing = dict.fromkeys(("mean", "m2", "m3", "m4"), math.nan)
    ends = {"min": math.inf, "max": -math.inf, "quantiles": (math.nan,) * len(QUANTILES)}
    counts = {"count": 3, "zero_count": 0, "small_count": 0}
    moments = Moments(**{**vars(MOMENTS), **nothing, **ends, **counts})
    row = compute_metrics(Measurement(moments, 1e-6), "basic")
    kept = {name for name, value in row.items() if value is not None}
    assert kept == {"nan_count", "inf_count", "value_dtype"}


def test_a_zero_matrix_has_norms_and_ranks_but_no_shares():
    spectrum = Spectrum(np.zeros(3), 3, 4, "zero_matrix", 0.0)
    row = compute_metrics(Measurement(MOMENTS, 1e-6, spectrum), "standard")
    for name in ("rank", "rank_numpy", "noise_rank", "spectral_norm", "frobenius_norm"):
        assert row[name] == 0, name
    assert row["nuclear_norm"] == row["sigma_min"] == 0
    assert row["condition_number"] == math.inf
    for name in ("stable_rank", "effective_rank", "spectral_entropy", "participation_ratio"):
        assert row[name] is None, name
    for name in ("energy_rank_90", "energy_rank_99", "top1_energy", "top10_energy"):
        assert row[name] is None, name


def test_one_singular_value_has_no_entropy():
    row = with_sigma(2.0)
    assert row["spectral_entropy"] is None
    for name in ("rank", "stable_rank", "effective_rank", "participation_ratio", "top1_energy"):
        assert row[name] == 1, name
    assert row["condition_number"] == 1


def test_equal_singular_values_are_the_upper_end():
    row = with_sigma(*[3.0] * 20)
    for name in ("stable_rank", "effective_rank", "participation_ratio"):
        assert row[name] == pytest.approx(20, rel=1e-14), name
    assert row["spectral_entropy"] == pytest.approx(1, rel=1e-14)
    assert [row[f"energy_rank_{q}"] for q in (90, 95, 99)] == [18, 19, 20]
    assert (row["top1_energy"], row["top10_energy"]) == pytest.approx((0.05, 0.5))


def test_rank_is_strictly_above_the_tolerance():
    assert with_sigma(1.0, 0.5, 0.25, rank_tol=0.5)["rank"] == 1
    assert with_sigma(1.0, 0.5, 0.25, rank_tol=0.49)["rank"] == 2


def test_a_subnormal_sigma_min_is_an_infinite_condition():
    assert with_sigma(1.0, 5e-324)["condition_number"] == math.inf


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_squares_of_extreme_values_neither_overflow_nor_vanish(scale):
    row = with_sigma(4 * scale, 3 * scale)
    assert row["frobenius_norm"] / scale == pytest.approx(5, rel=1e-14)
    assert row["stable_rank"] == pytest.approx(25 / 16)


def test_moments_of_a_constant_have_no_shape():
    moments = Moments(**{**vars(MOMENTS), "m2": 0.0, "m3": 0.0, "m4": 0.0})
    row = compute_metrics(Measurement(moments, 1e-6), "basic")
    assert (row["std"], row["skewness"], row["kurtosis"]) == (0.0, None, None)


SPECTRAL = {metric.name for metric in METRICS if metric.family == "spectrum"}


def spectral(spectrum):
    """What a way to a spectrum fills of its columns."""
    row = compute_metrics(Measurement(MOMENTS, 1e-6, spectrum), "full")
    return {name: row[name] for name in SPECTRAL if row[name] is not None}


def test_a_count_fills_the_rank_alone():
    assert spectral(RankCount(3, 3, 4, "cholesky_f64", 1e-8)) == {
        "rank": 3,
        "spectrum_method": "cholesky_f64",
        "spectrum_error": 1e-8,
    }


# Ten finite elements with mean square 25: the sum of lambda is 250.
LEADING = np.sqrt([100.0, 80.0, 40.0, *[4.0] * 7])


def sketch(count=10, error=1e-9):
    ranks = Estimate(5.5, 0.25), Estimate(0.75, 0.03)
    return Sketch(LEADING[:count], 40, 50, "block_lanczos", error, *ranks)


def test_a_sketch_fills_what_it_supports():
    assert spectral(sketch()) == pytest.approx(
        {
            "spectrum_method": "block_lanczos",
            "spectrum_error": 1e-9,
            "spectral_norm": 10.0,
            "frobenius_norm": math.sqrt(250.0),
            "stable_rank": 2.5,
            "effective_rank": 5.5,
            "effective_rank_error": 0.25,
            "spectral_entropy": 0.75,
            "spectral_entropy_error": 0.03,
            # 220 + 4 k >= 225, >= 237.5, >= 247.5
            "energy_rank_90": 5,
            "energy_rank_95": 8,
            "top1_energy": 0.4,
            "top10_energy": 248 / 250,
        }
        | {"energy_rank_99": 10}
    )


def test_a_sketch_that_ends_before_says_no_energy_rank():
    row = spectral(sketch(count=4))
    assert "top10_energy" not in row
    assert not {"energy_rank_90", "energy_rank_95", "energy_rank_99"} & set(row)


def test_a_sketch_whose_error_could_move_an_energy_rank_says_none():
    row = spectral(sketch(error=2e-2))
    assert "energy_rank_90" not in row
    assert "spectral_norm" in row


def test_a_sketch_of_one_value_has_no_entropy():
    row = spectral(replace(sketch(count=1), spectral_entropy=None))
    assert not {"spectral_entropy", "spectral_entropy_error"} & set(row)

import numpy as np
import pandas as pd

from mlx_probe.analysis.robust import THRESHOLD, robust_z
from mlx_probe.report.outliers import (
    count_kinds,
    find_outliers,
    unreliable_fits,
)


def stats(make, **columns):
    return make(**columns).frame


def test_a_tensor_is_compared_with_its_own_kind(make):
    types = ["q_proj"] * 8 + ["down_proj"] * 8
    std = [1.0, 1.1, 0.9, 1.05, 0.95, 1.02, 0.98, 9.0]
    std += [9.0, 9.1, 8.9, 9.05, 8.95, 9.02, 8.98, 9.01]
    (outlier,) = find_outliers(stats(make, block_type=types, std=std))
    assert outlier.row == 7
    assert [(r.kind, r.column) for r in outlier.reasons] == [("deviation", "std")]
    assert "std 9, median of q_proj 1.01" in outlier.reasons[0].text


def test_parts_of_fused_matrices_are_a_kind_of_their_own(make):
    std = [1.0, 1.1, 0.9, 1.05, 0.95, 9.0, 9.1, 8.9, 9.05, 8.95]
    part = [None] * 5 + ["q_proj"] * 5
    assert find_outliers(stats(make, std=std, part=part)) == []


def test_biases_are_judged_against_biases(make):
    names = [f"layers.{i}.q_proj.{end}" for i in range(8) for end in ("weight", "bias")]
    rows = [64, None] * 8
    std = [value for i in range(8) for value in (0.4 + i / 100, 0.002 + i / 10_000)]
    assert find_outliers(stats(make, std=std, param_name=names, rows=rows)) == []
    # As large as a weight's: nothing special among the weights.
    std[9] = 0.44
    (outlier,) = find_outliers(stats(make, std=std, param_name=names, rows=rows))
    assert outlier.row == 9
    assert "median of q_proj bias 0.0024" in outlier.reasons[0].text


def test_few_tensors_have_no_outliers(make):
    assert find_outliers(stats(make, std=[1.0, 1.0, 1.0, 50.0])) == []


def test_a_wide_column_is_compared_by_logarithm(make):
    # As plain numbers the last would lie thousands of deviations out.
    values = [10.0**n for n in range(8)]
    assert find_outliers(stats(make, condition_number=values)) == []


def test_what_is_most_serious_comes_first(make):
    count = 9
    frame = stats(
        make,
        status=["ok"] * (count - 1) + ["nonfinite"],
        status_reason=[None] * (count - 1) + ["2 NaNs"],
        rows=[8] * count,
        cols=[16] * count,
        rank=pd.array([8, 8, 8, 8, 4, 6, 8, 8, None], dtype="Int64"),
        std=[50.0, 1.1, 0.9, 1.05, 0.95, 1.02, 0.98, 1.0, np.nan],
        alpha=[3.0] * count,
        alpha_reliable=pd.array([True] * 6 + [False, True, None], dtype="boolean"),
    )
    outliers = find_outliers(frame)
    assert [outlier.row for outlier in outliers] == [8, 4, 5, 0, 6]
    first = [outlier.reasons[0] for outlier in outliers]
    assert [reason.kind for reason in first] == ["status", "rank", "rank", "deviation", "fit"]
    assert first[0].text == "nonfinite: 2 NaNs"
    assert first[1].text == "rank 4 of 8"
    assert first[3].size > THRESHOLD
    assert count_kinds(outliers) == {"status": 1, "rank": 2, "deviation": 1, "fit": 1}


def test_rounding_is_no_deviation(make):
    values = [1.0, 1 + 1e-16, 1 - 1e-16, 1 + 2e-16, 1 - 2e-16, 1 + 5e-5]
    assert np.abs(robust_z(np.array(values))[-1]) > THRESHOLD
    assert find_outliers(stats(make, stable_rank=values)) == []


def test_fits_that_fail_everywhere_are_counted_once(make):
    frame = stats(make, alpha=[3.0] * 6, alpha_reliable=[False] * 5 + [True])
    assert find_outliers(frame) == []
    assert unreliable_fits(frame) == "5 of 6 power-law fits are not reliable."


def test_an_exponent_that_is_not_reliable_does_not_stand_out(make):
    alpha = [3.0, 3.1, 2.9, 3.05, 2.95, 40.0]
    assert find_outliers(stats(make, alpha=alpha))[0].row == 5
    (outlier,) = find_outliers(stats(make, alpha=alpha, alpha_reliable=[True] * 5 + [False]))
    assert [reason.kind for reason in outlier.reasons] == ["fit"]


def test_an_old_run_has_no_fits(make):
    assert unreliable_fits(stats(make, std=[1.0] * 6)) == ""

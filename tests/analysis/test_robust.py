import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as floats_of

from mlx_probe.analysis.robust import robust_z, spans_decades

WHOLE = floats_of(np.float64, st.integers(1, 30), elements=st.integers(-(2**20), 2**20).map(float))


def test_robust_z_of_a_known_case():
    # median 3, deviations 2 1 0 1 97, MAD 1
    z = robust_z(np.array([1.0, 2, 3, 4, 100]))
    assert z == pytest.approx(np.array([-2, -1, 0, 1, 97]) / 1.4826)


def test_robust_z_where_most_are_equal():
    # MAD 0, mean absolute deviation 5/10
    z = robust_z(np.array([0.0] * 9 + [5.0]))
    assert z[:9] == pytest.approx(0)
    assert z[9] == pytest.approx(5 / (1.2533 * 0.5))


def test_robust_z_leaves_out_what_is_not_finite():
    z = robust_z(np.array([1.0, np.nan, 2.0, np.inf, 3.0]))
    assert np.isnan(z[[1, 3]]).all()
    assert z[2] == 0
    assert np.isnan(robust_z(np.array([np.nan, np.inf]))).all()


@given(WHOLE, st.sampled_from([0.5, 2.0, 1024.0]), st.sampled_from([-8.0, 0.0, 64.0]))
def test_robust_z_knows_neither_unit_nor_origin(values, scale, shift):
    # Whole numbers and powers of two: nothing is rounded.
    assert robust_z(values * scale + shift) == pytest.approx(robust_z(values), rel=1e-12)
    assert robust_z(-values) == pytest.approx(-robust_z(values), rel=1e-12)


def test_spans_decades():
    assert spans_decades(np.array([1.0, np.nan, 100.0]))
    assert not spans_decades(np.array([1.0, 99.0]))
    assert not spans_decades(np.array([0.0, 1000.0]))
    assert not spans_decades(np.array([np.nan, np.inf]))


def test_a_spread_that_is_small_by_chance_is_not_divided_by():
    values = np.array([1.0, 1.001, 1.002, 1.003, 1.2])
    assert robust_z(values)[-1] > 100
    assert robust_z(values, least=0.1)[-1] == pytest.approx(1.98)

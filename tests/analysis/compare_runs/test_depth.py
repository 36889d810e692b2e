import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlx_probe.analysis.compare_runs.depth import depth_bins, grouped_medians

FLOATS = st.floats(-1e12, 1e12)


def bins_of(layers, count, bins):
    layers = np.asarray(layers, float)
    return depth_bins(layers, np.full(len(layers), count), bins).tolist()


@given(count=st.integers(2, 200), bins=st.integers(1, 40))
def test_the_ends_of_all_models_are_aligned(count, bins):
    found = bins_of(range(count), count, bins)
    assert found[0] == 0
    assert found[-1] == bins - 1
    assert found == sorted(found)


@given(bins=st.integers(1, 40), times=st.integers(1, 8))
def test_a_deeper_model_of_the_same_shape_falls_into_the_same_bins(bins, times):
    short = bins_of(range(bins + 1), bins + 1, bins)
    deep = bins_of([times * layer for layer in range(bins + 1)], times * bins + 1, bins)
    assert short == deep == [*range(bins), bins - 1]


@pytest.mark.parametrize(("bins", "middle"), [(1, 0), (2, 1), (10, 5), (11, 5)])
def test_the_only_layer_is_in_the_middle(bins, middle):
    assert bins_of([0], 1, bins) == [middle]


def test_outside_the_layers_there_is_no_depth():
    assert bins_of([np.nan, 0, 3], 4, 10) == [-1, 0, 9]


@given(
    values=arrays(
        float,
        st.tuples(st.integers(1, 3), st.integers(0, 20)),
        elements=FLOATS | st.just(np.nan),
    ),
    data=st.data(),
)
def test_medians_are_those_of_each_key_in_each_column(values, data):
    keys = data.draw(arrays(np.int64, values.shape[1], elements=st.integers(-1, 3)))
    found = grouped_medians(values, keys, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the median of nothing
        expected = [[np.nanmedian(own[keys == key]) for key in range(4)] for own in values]
    np.testing.assert_allclose(found, expected, rtol=1e-15, atol=1e-300)


def test_infinities_are_numbers():
    values = np.array([[np.inf, np.inf, 1.0, 1.7e308, 1.7e308, -np.inf, np.inf]])
    keys = np.array([0, 0, 1, 1, 2, 3, 3])
    found = grouped_medians(values, keys, 4)[0].tolist()
    assert found[:3] == [np.inf, 8.5e307 + 0.5, 1.7e308]
    assert np.isnan(found[3])

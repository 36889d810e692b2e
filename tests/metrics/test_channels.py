import numpy as np
import pytest
from matrices import FLOATS, measure, store

from mlx_probe.core.records import QuantizationError
from mlx_probe.metrics import Measurement, compute_metrics


def dead(backend, words, dtype):
    row = compute_metrics(measure(backend, words, dtype), "full")
    return row["dead_rows"], row["dead_columns"]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(300, 80), (80, 1300), (96, 96), (1300, 65)])
def test_planted_ones_are_counted(backend, dtype, shape, rng):
    x = rng.standard_normal(shape)
    assert dead(backend, store(x, dtype)[0], dtype) == (0, 0)
    x[rng.choice(shape[0], 7, replace=False)] = 0
    x[:, rng.choice(shape[1], 3, replace=False)] = 0
    assert dead(backend, store(x, dtype)[0], dtype) == (7, 3)


def test_what_decayed_is_dead_and_what_is_small_is_not(backend, rng):
    x = rng.uniform(0.5, 1, (64, 32)).astype(np.float32)
    x[3] *= 1e-12
    x[5] *= 0.1
    assert dead(backend, x, "F32") == (1, 0)


def test_of_a_matrix_of_zeros_all_are_dead(backend):
    assert dead(backend, np.zeros((8, 4), np.float32), "F32") == (8, 4)


def test_most_may_be_dead(backend):
    x = np.zeros((8, 64), np.float32)
    x[2] = 1
    assert dead(backend, x, "F32") == (7, 0)


def test_packed_weights_have_them_as_well(backend):
    plain = measure(backend, np.ones((4, 64), np.float32), "F32")
    packed = QuantizationError({}, np.array([1.0, 0.009, 1.0, 1.0]), np.ones(64))
    row = compute_metrics(Measurement(plain.moments, 1e-6, plain.spectrum, packed), "full")
    assert (row["dead_rows"], row["dead_columns"]) == (1, 0)

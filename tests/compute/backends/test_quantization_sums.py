"""The errors of a matrix on every backend, against rounding all of it at once."""

import numpy as np
import pytest
from matrices import FLOATS, store

from mlx_probe.compute.backends.chunk import Chunk
from mlx_probe.compute.backends.quantization import (
    BLOCK_ELEMENTS,
    GROUP_SIZE,
    QUANTIZED_BITS,
    QuantizationSums,
    affine_round,
)
from mlx_probe.core.dtypes import decode


def keep_of(dtype):
    """Rounds scales and biases to the type that they are stored in."""
    if dtype == "BF16":
        return lambda x: decode(store(x, "BF16")[0], "BF16")
    return (lambda x: x.astype(np.float16).astype(np.float32)) if dtype == "F16" else None


def errors_of(words, dtype, bits):
    """Elements minus rounded ones, float64."""
    values = decode(words, dtype)
    x = values.astype(np.float32)
    rounded = affine_round(np, x, bits, keep_of(dtype))
    return ((values if dtype == "F64" else x) - rounded).astype(np.float64).ravel()


def uneven(rng, rows, cols):
    x = rng.standard_normal((rows, cols)) * np.exp(rng.standard_normal((rows, 1)))
    x[0], x[1], x[2, ::3] = 0, 0.7, -0.0
    return x


@pytest.mark.parametrize("dtype", FLOATS)
def test_numpy_rounds_in_place_bit_for_bit(dtype, rng):
    cols = 40 * GROUP_SIZE
    height = BLOCK_ELEMENTS // cols
    words, _ = store(uneven(rng, 2 * height + 7, cols), dtype)
    sums = QuantizationSums(*words.shape, dtype, QUANTIZED_BITS)
    sums.add(Chunk(words, dtype))
    for bits, total in sums.finish().squared_error.items():
        # Three blocks, whose squares are summed one after the other.
        blocks = (words[top : top + height] for top in range(0, len(words), height))
        errors = (errors_of(block, dtype, bits) for block in blocks)
        assert total == sum(float(np.dot(error, error)) for error in errors)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(70, 2 * GROUP_SIZE), (9, 33 * GROUP_SIZE)])
def test_every_backend_sums_the_same_errors(backend, shape, dtype, rng):
    words, values = store(uneven(rng, *shape), dtype)
    rounding = backend.quantization_pass(*shape, dtype, QUANTIZED_BITS)
    rounding.add(backend.load(words, dtype))
    result = rounding.finish()
    np.testing.assert_array_equal(result.row_max, np.abs(values).max(axis=1))
    np.testing.assert_array_equal(result.col_max, np.abs(values).max(axis=0))
    for bits in QUANTIZED_BITS:
        expected = float(np.square(errors_of(words, dtype, bits)).sum())
        assert result.squared_error[bits] == pytest.approx(expected, rel=1e-5)

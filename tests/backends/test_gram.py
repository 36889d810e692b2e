import numpy as np
import pytest
from matrices import FLOATS, slabs_of, store

SHAPES = [(300, 40), (40, 300), (2500, 17), (17, 2500), (1024, 8), (64, 64), (1, 5), (5, 1)]


def gram_of(backend, words, dtype):
    rows, cols = words.shape
    gram = backend.gram_pass(rows, cols, dtype)
    for slab in slabs_of(words, 2048):
        gram.add(backend.load(slab, dtype))
    return gram.finish()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gram_matrix_is_within_what_it_says_it_left_out(backend, dtype, shape):
    words, values = store(np.random.default_rng(0).standard_normal(shape), dtype)
    short_side = values if shape[0] >= shape[1] else values.T
    exact = short_side.T @ short_side
    gram = gram_of(backend, words, dtype)
    norm = np.linalg.norm(short_side, 2)
    allowed = 2 * norm * gram.omitted + gram.omitted**2 + 64 * np.finfo(float).eps * norm**2
    assert np.linalg.norm(gram.matrix - exact, 2) <= allowed
    assert gram.omitted <= 1e-6 * norm
    np.testing.assert_array_equal(gram.matrix, gram.matrix.T)


@pytest.mark.parametrize("dtype", ["I8", "U8", "I16", "BOOL", "F8_E4M3"])
def test_narrow_types_enter_exactly(backend, dtype):
    rng = np.random.default_rng(1)
    words = rng.integers(0, 2 if dtype == "BOOL" else 100, (1500, 12)).astype(np.uint8)
    words = (
        words.astype(np.int16)
        if dtype == "I16"
        else words.view(np.int8 if dtype == "I8" else np.uint8)
    )
    values = store(words, dtype)[1] if dtype != "F8_E4M3" else None
    gram = gram_of(backend, words, dtype)
    assert gram.omitted == 0
    if values is not None:
        np.testing.assert_array_equal(gram.matrix, values.T @ values)


def test_columns_of_very_different_scale(backend):
    x = np.random.default_rng(2).standard_normal((400, 20)) * 2.0 ** np.arange(-60, 60, 6)
    words, values = store(x, "F32")
    exact = values.T @ values
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert np.abs((gram_of(backend, words, "F32").matrix - exact) / scale).max() <= 1e-9


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1e30])
def test_subnormal_and_huge_values(backend, scale):
    words, values = store(scale * np.random.default_rng(3).uniform(-1, 1, (200, 10)), "F32")
    found = gram_of(backend, words, "F32").matrix / scale / scale
    np.testing.assert_allclose(found, (values / scale).T @ (values / scale), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rows", [1024, 1025, 3000])
@pytest.mark.parametrize("count", [3, 4])
def test_digit_products_are_int64_arithmetic(rows, count):
    mx = pytest.importorskip("mlx.core")
    from mlx_probe.backends.mlx_digits import digit_products

    rng = np.random.default_rng(4)
    digits = [rng.integers(-128, 129, (rows, 30)) for _ in range(count)]
    # The worst case: every partial sum climbs to the bound.
    digits[0][:, 0] = digits[1][:, 0] = 128
    digits[0][:, 1] = -128
    mx.set_default_device(mx.cpu)
    found = digit_products([mx.array(d.astype(np.float32)) for d in digits])
    expected: dict[int, np.ndarray] = {}
    for i in range(count):
        for j in range(i, count):
            product = digits[i].T @ digits[j]
            product = product if i == j else product + product.T
            expected[i + j] = expected.get(i + j, 0) + product
    assert {level for level, _ in found} == set(expected)
    for level, product in found:
        np.testing.assert_array_equal(np.array(product), expected[level])


def test_digits_and_remainder_are_the_number():
    mx = pytest.importorskip("mlx.core")
    from mlx_probe.backends.mlx_digits import peel

    mx.set_default_device(mx.cpu)
    x = np.random.default_rng(5).uniform(-1, 1, (50, 6)).astype(np.float32)
    for count in (3, 4):
        digits, left_over = peel(mx.array(x), count)
        value = sum(
            np.array(d).astype(np.float64) * 2.0 ** -(7 + 8 * k) for k, d in enumerate(digits)
        )
        assert all(np.abs(np.array(d)).max() <= 128 for d in digits)
        lost = np.linalg.norm(x - value, axis=0)
        np.testing.assert_allclose(np.array(left_over), lost, rtol=1e-5, atol=1e-12)


def test_precision_of_matrix_products_is_pinned():
    pytest.importorskip("mlx.core")
    import os

    from mlx_probe.backends import BACKENDS

    BACKENDS["mlx"]("cpu")
    assert os.environ["MLX_ENABLE_TF32"] == "0"

import numpy as np
import pytest
from matrices import FLOATS, decoded, gram_of, slabs_of, store

EPS = np.finfo(float).eps
SHAPES = [(300, 40), (40, 300), (2500, 17), (17, 2500), (1024, 8), (64, 64), (1, 5), (5, 1)]


def exact_gram(values):
    short_side = values if values.shape[0] >= values.shape[1] else values.T
    return short_side.T @ short_side


def symmetric(gram):
    """The matrix whose upper triangle is defined."""
    return np.triu(gram.matrix) + np.triu(gram.matrix, 1).T


@pytest.mark.parametrize("precise", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gram_matrix_is_within_what_it_says_it_left_out(backend, dtype, shape, precise):
    words, values = store(np.random.default_rng(0).standard_normal(shape), dtype)
    gram = gram_of(backend, words, dtype, precise)
    norm = np.linalg.norm(values, 2)
    allowed = 2 * norm * gram.omitted + gram.omitted**2 + 64 * EPS * norm**2
    assert np.linalg.norm(symmetric(gram) - exact_gram(values), 2) <= allowed
    assert gram.omitted <= (1e-10 if precise else 1e-6) * norm


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_precise_leaves_less_out(backend, dtype, rng):
    words, values = store(10.0 ** rng.uniform(-9, 0, (300, 20)), dtype)
    norm = np.linalg.norm(values, 2)
    rough, precise = (gram_of(backend, words, dtype, more).omitted for more in (False, True))
    assert precise <= rough / 2**12
    assert precise <= 1e-11 * norm
    assert rough == 0 or backend.name == "mlx"


@pytest.mark.parametrize("dtype", ["I8", "U8", "I16", "BOOL"])
@pytest.mark.parametrize("extent", [1024, 400, 37])
def test_narrow_types_enter_exactly_slab_by_slab(backend, dtype, extent, rng):
    numbers = rng.integers(0 if dtype in ("U8", "BOOL") else -100, 100, (1100, 12))
    words, values = store(numbers, dtype)
    gram = gram_of(backend, words, dtype, extent=extent)
    assert gram.omitted == 0
    np.testing.assert_array_equal(symmetric(gram), values.T @ values)


def test_e4m3_enters_exactly(backend, rng):
    words = rng.integers(0, 0x7F, (1500, 12)).astype(np.uint8)
    gram = gram_of(backend, words, "F8_E4M3")
    values = decoded(words, "F8_E4M3")
    assert gram.omitted == 0
    np.testing.assert_array_equal(symmetric(gram), values.T @ values)


@pytest.mark.parametrize("shape", [(400, 20), (20, 400)])
def test_columns_of_very_different_scale(backend, shape, rng):
    scales = 2.0 ** np.arange(-60, 60, 6)
    x = rng.standard_normal((400, 20)) * scales
    words, values = store(x if shape[0] == 400 else x.T.copy(), "F32")
    exact = exact_gram(values)
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    result = symmetric(gram_of(backend, words, "F32"))
    assert np.abs((result - exact) / scale).max() <= 1e-9


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1e30, 1e38])
def test_subnormal_and_huge_values(backend, scale, rng):
    words, values = store(scale * rng.uniform(-1, 1, (200, 10)), "F32")
    result = symmetric(gram_of(backend, words, "F32")) / scale / scale
    np.testing.assert_allclose(result, exact_gram(values / scale), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(200, 24), (24, 200), (33, 33), (1030, 5), (5, 1), (1, 5)])
def test_batches_are_singles_bit_for_bit(backend, dtype, shape, rng):
    scales = (1.0, 1e-3, 0.0, 5.0)
    matrices = [store(scale * rng.standard_normal(shape), dtype)[0] for scale in scales]
    chunks = [backend.load(words, dtype) for words in matrices]
    batch = backend.gram_batch(chunks, *shape, dtype)
    for words, together in zip(matrices, batch, strict=True):
        alone = gram_of(backend, words, dtype, extent=max(shape))
        np.testing.assert_array_equal(symmetric(together), symmetric(alone))
        assert together.omitted == alone.omitted


def test_batches_hold_what_one_slab_each_may_hold(backend):
    for rows, cols in ((1, 1), (64, 64), (1024, 4096), (4096, 1024), (1025, 1025), (3, 1_000_000)):
        size = backend.batch_size(rows, cols)
        assert 1 <= size <= 64
        assert size == 1 or size * rows * cols <= 1 << 24
        assert size == 1 or min(rows, cols) <= 1024
    assert (backend.batch_size(512, 512) > 1) is (backend.name == "mlx")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_gives_no_warning(backend, bad):
    words = np.ones((60, 8), np.float32)
    words[50, 3] = bad
    for part in (words, words[::-1], np.full_like(words, bad)):
        gram = backend.gram_pass(60, 8, "F32")
        for slab in slabs_of(part, 20):
            gram.add(backend.load(slab, "F32"))
        assert gram.finish().matrix.shape == (8, 8)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_what_is_not_finite_costs_its_own_lines_alone(backend, bad, dtype, rng):
    x = rng.standard_normal((3000, 8))
    x[1700, 3] = bad
    words, values = store(x, dtype)
    result = symmetric(gram_of(backend, words, dtype, extent=1024))
    whole = np.delete(np.arange(8), 3)
    np.testing.assert_allclose(
        result[np.ix_(whole, whole)], exact_gram(values[:, whole]), rtol=1e-6, atol=1e-3
    )
    assert not np.isfinite(np.diagonal(result)[3])

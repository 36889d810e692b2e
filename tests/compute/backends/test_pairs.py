"""Sums and Gram matrices of two matrices side by side, on every backend, against exact ones."""

import numpy as np
import pytest
from matrices import slabs_of, store

EPS = np.finfo(float).eps
PAIRS = [("F32", "F32"), ("BF16", "F32"), ("F16", "BF16"), ("F64", "F32"), ("BF16", "F64")]
SHAPES = [(300, 40), (40, 300), (64, 64), (1, 5)]
# Sums of float32 on a device, of float64 in numpy.
RELATIVE = {"numpy": 1e-13, "mlx": 1e-9}


def chunks(backend, words, dtypes, extent):
    slabs = (slabs_of(each, extent) for each in words)
    for stored in zip(*slabs, strict=True):
        yield tuple(backend.load(each, dtype) for each, dtype in zip(stored, dtypes, strict=True))


def change_of(backend, words, dtypes, extent=1024):
    sums = backend.change_pass(*dtypes)
    for a, b in chunks(backend, words, dtypes, extent):
        sums.add(a, b)
    return sums.finish()


def pair_of(rng, shape, dtypes, size=0.1):
    x = rng.standard_normal(shape)
    y = x + size * rng.standard_normal(shape)
    stored = [store(each, dtype) for each, dtype in zip((x, y), dtypes, strict=True)]
    return [words for words, _ in stored], [values.astype(float) for _, values in stored]


@pytest.mark.parametrize("size", [1e-6, 0.1, 3.0])
@pytest.mark.parametrize("dtypes", PAIRS)
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_of_a_change(backend, rng, shape, dtypes, size):
    words, (x, y) = pair_of(rng, shape, dtypes, size)
    sums = change_of(backend, words, dtypes, extent=128)
    d, rtol = y - x, RELATIVE[backend.name]
    assert sums.count == x.size
    assert sums.changed == np.count_nonzero(d)
    np.testing.assert_allclose(sums.a, np.sum(x * x), rtol=rtol)
    np.testing.assert_allclose(sums.b, np.sum(y * y), rtol=rtol)
    np.testing.assert_allclose(
        sums.difference, np.sum(d * d), rtol=max(rtol, 3e-7 * (rtol > 1e-12))
    )
    np.testing.assert_allclose(sums.largest, np.abs(d).max(), rtol=max(rtol, 1e-7 * (rtol > 1e-12)))
    scale = np.linalg.norm(x) * np.linalg.norm(y)
    np.testing.assert_allclose(sums.dot, np.sum(x * y), atol=rtol * scale)


@pytest.mark.parametrize("size", [1e-6, 1e-4, 1e-2])
def test_the_angle_of_a_small_change(backend, rng, size):
    """1 - cosine is as exact as the change itself, though sums of float32 are not."""
    words, (x, y) = pair_of(rng, (500, 60), ("F32", "F32"), size)
    sums = change_of(backend, words, ("F32", "F32"))
    d = y - x
    sine = np.sum(d * d) / np.sum(x * x) - (np.sum(d * x) / np.sum(x * x)) ** 2
    cosine = sums.dot / np.sqrt(sums.a * sums.b)
    np.testing.assert_allclose(1 - cosine, sine / 2, rtol=0.05 * size + 1e-6, atol=4e-15)


@pytest.mark.parametrize("dtypes", [("F32", "F32"), ("BF16", "BF16"), ("F64", "F64")])
def test_equal_tensors(backend, rng, dtypes):
    words, (x, _) = pair_of(rng, (200, 30), dtypes, 0.0)
    words[0].reshape(-1)[:5] = 0
    words[1].reshape(-1)[:5] = 0
    sums = change_of(backend, words, dtypes)
    assert (sums.changed, sums.largest, sums.difference) == (0, 0.0, 0.0)
    assert sums.a == sums.b == sums.dot > 0
    assert sums.count == x.size


def test_one_chunk_beside_itself(backend, rng):
    """Both models have the same bytes: they are loaded once."""
    words = store(rng.standard_normal((200, 30)), "BF16")[0]
    words[3, 4] = 0
    alone, twice = backend.change_pass("BF16", "BF16"), backend.change_pass("BF16", "BF16")
    chunk = backend.load(words, "BF16")
    alone.add(chunk, chunk)
    twice.add(chunk, backend.load(words.copy(), "BF16"))
    assert alone.finish() == twice.finish()
    damaged, sums = store([1.0, np.nan], "BF16")[0], backend.change_pass("BF16", "BF16")
    chunk = backend.load(damaged, "BF16")
    sums.add(chunk, chunk)
    assert (sums.finish().nonfinite_a, sums.finish().nonfinite_b) == (1, 1)


def test_zeros_of_either_sign_are_equal(backend):
    x, y = np.zeros(40, "f4"), np.full(40, -0.0, "f4")
    sums = change_of(backend, (x, y), ("F32", "F32"))
    assert (sums.changed, sums.any_a, sums.any_b) == (0, False, False)


@pytest.mark.parametrize("tiny", [1e-45, 1e-39, 1e-30])
def test_tiny_elements_are_counted_and_summed(backend, rng, tiny):
    """Where a device would flush, the host sums."""
    x = rng.standard_normal(100).astype("f4")
    x[:3] = 0
    y = x.copy()
    y[:3] = tiny
    sums = change_of(backend, (x, y), ("F32", "F32"))
    assert sums.changed == 3
    assert sums.largest == np.float32(tiny)
    np.testing.assert_allclose(sums.difference, 3 * float(np.float32(tiny)) ** 2, rtol=1e-12)


def test_a_difference_beyond_float32(backend):
    x = np.array([3e38, 1.0], "f4")
    sums = change_of(backend, (x, -x), ("F32", "F32"))
    assert sums.largest == 2 * float(x[0])
    assert np.isfinite(sums.difference)


@pytest.mark.parametrize("dtypes", [("F32", "F32"), ("BF16", "F64")])
def test_damaged_elements_are_counted(backend, rng, dtypes):
    stored = rng.standard_normal((2, 3000))
    stored[0, :2], stored[1, 5] = [np.nan, np.inf], -np.inf
    words = [store(x, dtype)[0] for x, dtype in zip(stored, dtypes, strict=True)]
    sums = change_of(backend, words, dtypes)
    assert (sums.nonfinite_a, sums.nonfinite_b) == (2, 1)


def exact_gram(x):
    x = x if x.shape[0] >= x.shape[1] else x.T
    return x.T @ x


def off(gram, x):
    """How far an upper triangle is from the Gram matrix, and how far it may be."""
    difference = np.triu(gram.matrix) + np.triu(gram.matrix, 1).T - exact_gram(x)
    norm = np.linalg.norm(x, 2)
    allowed = 2 * norm * gram.omitted + gram.omitted**2 + 64 * EPS * norm**2
    return np.linalg.norm(difference, 2), allowed


@pytest.mark.parametrize("dtypes", PAIRS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gram_matrices_are_within_what_they_say_they_left_out(backend, rng, shape, dtypes):
    words, (x, y) = pair_of(rng, shape, dtypes, 0.3)
    grams = backend.pair_gram_pass(*shape, dtypes, True, True)
    for a, b in chunks(backend, words, dtypes, 128):
        grams.add(a, b)
    made = grams.finish()
    for gram, values in ((made.difference, y - x), (made.a, x), (made.b, y)):
        error, allowed = off(gram, values)
        assert error <= allowed
        assert gram.omitted <= 1e-6 * np.linalg.norm(values, 2)
    ((a, b),) = chunks(backend, words, dtypes, 1024)
    # What was left out of a difference depends on nothing but the elements.
    (batched,) = backend.pair_gram_batch([(a, b)], *shape, dtypes, True)
    for gram, values in ((batched.difference, y - x), (batched.a, x), (batched.b, y)):
        assert off(gram, values)[0] <= off(gram, values)[1]


@pytest.mark.parametrize(("difference", "sides"), [(True, False), (False, True)])
def test_only_what_was_asked_for_is_made(backend, rng, difference, sides):
    words, _ = pair_of(rng, (64, 16), ("F32", "BF16"))
    grams = backend.pair_gram_pass(64, 16, ("F32", "BF16"), difference, sides)
    for a, b in chunks(backend, words, ("F32", "BF16"), 1024):
        grams.add(a, b)
    made = grams.finish()
    assert (made.difference is not None, made.a is not None) == (difference, sides)
    assert (made.b is None) == (made.a is None)


@pytest.mark.parametrize("dtypes", [("F32", "F32"), ("BF16", "F16"), ("F64", "BF16")])
@pytest.mark.parametrize("shape", [(80, 24), (24, 80)])
def test_a_batch_has_the_bits_of_single_pairs(backend, rng, shape, dtypes):
    loaded, alone = [], []
    for _ in range(3):
        words, _ = pair_of(rng, shape, dtypes)
        ((a, b),) = chunks(backend, words, dtypes, 1024)
        loaded.append((a, b))
        grams = backend.pair_gram_pass(*shape, dtypes, True, True)
        grams.add(a, b)
        alone.append(grams.finish())
    for one, other in zip(
        alone, backend.pair_gram_batch(loaded, *shape, dtypes, True), strict=True
    ):
        for mine, its in ((one.difference, other.difference), (one.a, other.a), (one.b, other.b)):
            assert mine.omitted == pytest.approx(its.omitted, rel=1e-12)
            np.testing.assert_array_equal(np.triu(mine.matrix), np.triu(its.matrix))


def test_a_rounded_difference_says_what_it_left_out(backend, rng):
    """float32 numbers a thousand times apart: their difference needs more bits than float32 has."""
    x, y = (
        rng.standard_normal((100, 20)).astype("f4"),
        (1e-3 * rng.standard_normal((100, 20))).astype("f4"),
    )
    grams = backend.pair_gram_pass(100, 20, ("F32", "F32"), True, False)
    grams.add(*(backend.load(each, "F32") for each in (x, y)))
    gram, d = grams.finish().difference, y.astype(float) - x
    lost = np.linalg.norm(d - d.astype("f4"))
    assert lost > 0
    assert gram.omitted == 0 if backend.name == "numpy" else gram.omitted >= lost
    assert off(gram, d)[0] <= off(gram, d)[1]


def test_a_chunk_on_the_host_has_the_same_values(backend, rng):
    for dtype in ("BF16", "F32", "F64", "F16"):
        words, values = store(rng.standard_normal((30, 20)), dtype)
        chunk = backend.on_host(backend.load(words, dtype))
        np.testing.assert_array_equal(chunk.values, values)

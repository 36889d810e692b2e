"""Moments and Gram matrices by kernels are those by numpy: one read against several."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import moments_of, same_moments, slabs_of, store

from mlx_probe.compute import lapack, native
from mlx_probe.compute.backends import counts
from mlx_probe.compute.backends.chunk import Chunk
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.backends.numpy.native import NativeBinPass, NativeChunk, NativeCodePass
from mlx_probe.compute.native import elements
from mlx_probe.core.dtypes import DTYPES

pytestmark = pytest.mark.skipif(not elements.is_available(), reason="no kernels here")

NUMPY = NumpyBackend()
TYPES = ("F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
# A tile has 2,048 elements, a block 2**18; few elements are counted in a list.
MATRICES = [
    *((3000, 600), (600, 3000), (700, 700), (1, 9000), (9000, 1), (1, 1), (5, 3)),
    *((40, 300), (2049, 5), (3, 4097), (131, 2047), (4100, 65)),
]
VECTORS = [(1,), (17,), (2047,), (2048,), (2049,), (8192,), (8193,), (300_001,)]


def streamed(words, dtype, extent=1024, zero_epsilon=1e-8):
    """Kind of the pass, moments and Gram matrix, as `analyze` streams a weight."""
    moments = NUMPY.element_pass(dtype, zero_epsilon)
    gram = NUMPY.gram_pass(*words.shape, dtype) if words.ndim == 2 else None
    for slab in slabs_of(words, extent):
        chunk = NUMPY.load(slab, dtype)
        for part in NUMPY.parts(chunk, *words.shape) if gram else (chunk,):
            moments.add(part)
            if gram:
                gram.add(part)
    return type(moments), moments.finish(), gram.finish().matrix if gram else None


def alike(words, dtype, **options):
    """Both ways; the one with kernels is used where it should be."""
    # BLAS multiplies what either way hands to it: equal products say that all elements are equal.
    with mock.patch.object(lapack, "add_products", return_value=False):
        kind, moments, gram = streamed(words, dtype, **options)
    assert kind is (NativeBinPass if dtype == "F32" else NativeCodePass)
    with native.without():
        other, expected, matrix = streamed(words, dtype, **options)
    assert other not in (NativeBinPass, NativeCodePass)
    same_moments(moments, expected)
    if gram is not None:
        np.testing.assert_array_equal(gram, matrix)
    return moments


@pytest.mark.parametrize("shape", [*MATRICES, *VECTORS], ids=str)
@pytest.mark.parametrize("dtype", TYPES)
def test_both_ways_agree(dtype, shape, rng):
    words, _ = store(0.05 * rng.standard_normal(shape) + 0.01, dtype)
    moments = alike(words, dtype)
    assert moments.count == words.size


@pytest.mark.parametrize("dtype", TYPES)
def test_random_bits_agree(dtype, rng):
    """Every exponent, zeros, subnormals, NaN and infinities."""
    storage = DTYPES[dtype].storage
    words = rng.integers(0, 256, 70_001 * storage.itemsize, np.uint8).view(storage)
    moments = alike(words, dtype)
    assert moments.nan_count
    assert moments.inf_count or dtype in ("F32", "F8_E4M3")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_what_is_not_finite_is_counted_and_left_out(dtype, bad, rng):
    x = rng.standard_normal((2500, 9))
    x[rng.random(x.shape) < 0.1] = bad
    x[1024:1400] = bad  # whole tiles
    words, _ = store(x, dtype)
    with np.errstate(invalid="ignore"):
        moments = alike(words.reshape(-1), dtype, extent=10_000)
    assert moments.nan_count + moments.inf_count == np.count_nonzero(~np.isfinite(x))


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-8, 1e-45, -1e-40, 2.0**-126, 65504, 3e38, 1.25])
def test_equal_elements_agree(value):
    moments = alike(np.full(9001, value, np.float32), "F32")
    assert (moments.mean, moments.m2) == (np.float32(value), 0)


@pytest.mark.parametrize("epsilon", [0.0, 1e-46, 1e-40, 1e-8, 0.1, 0.25, 1e39])
def test_small_elements_are_those_of_numpy(epsilon, rng):
    near = np.float32(min(epsilon, 1e38))
    x = np.concatenate((rng.standard_normal(9000), [0, near, -near])).astype(np.float32)
    x = np.append(x, [np.nextafter(near, np.float32(end)) for end in (0, 1e38)]).astype(np.float32)
    moments = alike(x, "F32", zero_epsilon=epsilon)
    assert moments.small_count == np.count_nonzero(np.abs(x.astype(np.float64)) <= epsilon)


@pytest.mark.parametrize("held", ["F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"])
@pytest.mark.parametrize("odd", [None, np.nan, 65536.0, 2.0**-24, 2.0**-25, 2.0**-130])
def test_the_narrowest_format_that_holds_all(held, odd, rng):
    x = store(rng.standard_normal(9000), held)[1].astype(np.float32)
    if odd is not None:
        x[4567] = odd
    alike(x, "F32")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    words=st.lists(
        st.one_of(
            st.integers(0, 2**32 - 1),
            # Zeros, subnormals, the ends of the range, infinities, quiet and signalling NaNs.
            st.sampled_from([0, 1, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000]),
            st.sampled_from([1 << 31, 0x80000001, 0x807FFFFF, 0xFF7FFFFF, 0xFF800000, 0x7F800001]),
        ),
        min_size=1,
        max_size=40,
    ),
    copies=st.sampled_from([1, 300]),
    cols=st.sampled_from([None, 1, 7]),
    epsilon=st.sampled_from([0.0, 1e-8, 1e-42]),
)
def test_hostile_floats_agree(words, copies, cols, epsilon):
    x = np.tile(np.array(words, np.uint32), copies).view(np.float32)
    if cols is not None:
        x = x[: max(x.size // cols, 1) * min(cols, x.size)].reshape(-1, min(cols, x.size))
    kind, moments, _ = streamed(x, "F32", zero_epsilon=epsilon)
    with native.without():
        _, expected, _ = streamed(x, "F32", zero_epsilon=epsilon)
    assert kind is NativeBinPass
    same_moments(moments, expected)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    dtype=st.sampled_from(TYPES[1:]),
    words=st.binary(min_size=2, max_size=80),
    copies=st.sampled_from([1, 300]),
)
def test_hostile_patterns_agree(dtype, words, copies):
    stored = np.frombuffer((words * copies)[: len(words) * copies // 2 * 2], np.uint8)
    alike(stored.view(DTYPES[dtype].storage), dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("view", ["unaligned", "columns", "backwards", "every other", "3-D"])
def test_views_of_a_file_agree(dtype, view, rng):
    words, _ = store(rng.standard_normal((120, 90)), dtype)
    if view == "unaligned":
        raw = np.frombuffer(b"abc" + words.tobytes(), np.uint8)
        stored = raw[3:].view(words.dtype).reshape(words.shape)
    else:
        stored = {
            "columns": words[:, 7:70],
            "backwards": words[::-1],
            "every other": words[:, ::2],
            "3-D": words.reshape(10, 12, 90),
        }[view]
    chunk = NUMPY.load(stored, dtype)
    assert isinstance(chunk, NativeChunk) is (view in ("unaligned", "columns", "3-D"))
    with native.without():
        expected = NUMPY.load(stored, dtype).values
    np.testing.assert_array_equal(chunk.values, expected)
    np.testing.assert_array_equal(chunk.stored, stored)


def test_elements_by_any_other_way_are_added_too(rng):
    """What is loaded without kernels, or by another backend, may come between."""
    words, _ = store(rng.standard_normal(20_000), "F32")
    moments = NUMPY.element_pass("F32", 1e-8)
    moments.add(NUMPY.load(words[:9000], "F32"))
    with native.without():
        host = NUMPY.load(words[9000:], "F32")
    moments.add(host)
    same_moments(moments.finish(), moments_of(NUMPY, words, "F32", extent=words.size))


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F8_E5M2"])
def test_a_table_is_added_up_before_it_overflows(dtype, rng, monkeypatch):
    monkeypatch.setattr(counts, "_NARROW", 20_000)
    words, _ = store(rng.standard_normal(70_000), dtype)
    alike(words, dtype)


def test_the_panel_of_a_part_is_that_of_its_pass(rng):
    """The pass over the elements leaves what the Gram matrix takes: nothing is decoded twice."""
    words, _ = store(rng.standard_normal((3000, 600)), "F32")
    chunk = NUMPY.load(words, "F32")
    for part in NUMPY.parts(chunk, *words.shape):
        NUMPY.element_pass("F32", 0.0).add(part)
        words_before = part.lines.words.copy()
        part.lines.words[...] = 0
        np.testing.assert_array_equal(part.values, words_before.astype(np.float64))


def test_chunks_side_by_side_do_not_share_memory(rng):
    a, b = (rng.standard_normal((1024, 600)).astype(np.float32) for _ in range(2))
    for _ in range(2):  # the second time, memory of the first is at hand
        streams = (NUMPY.load(x, "F32").parts(0, 256) for x in (a, b))
        for number, (x, y) in enumerate(zip(*streams, strict=True)):
            rows = slice(256 * number, 256 * number + 256)
            first, second = x.values, y.values
            np.testing.assert_array_equal(first, a[rows])
            np.testing.assert_array_equal(second, b[rows])


def test_tables_are_clear_for_the_next_pass():
    """What one pass counted, zeros and subnormals too, is no part of the next."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal(1 << 15).astype(np.float32)
    first[:3000:3], first[1:3000:3] = 0, np.float32(1e-40)
    second = (1e3 * rng.standard_normal(1 << 15)).astype(np.float32)
    once = []
    for x in (second, first, second):
        elements = NativeBinPass(1e-8)
        elements.add(Chunk(x, "F32"))
        once.append(elements.finish())
    assert once[0] == once[2]

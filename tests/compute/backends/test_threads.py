from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from matrices import gram_of, measure, slabs_of, store
from threadpoolctl import threadpool_limits

from mlx_probe.metrics import compute_metrics

THREADS = 4


def together(work):
    """Results of work(0), work(1) ... that start at the same moment, each in its own thread."""
    start = Barrier(THREADS)

    def begin(index):
        start.wait(timeout=60)
        return work(index)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16", "F8_E4M3"])
@pytest.mark.parametrize("rank_tol", [1e-6, 1e-9])
def test_threads_side_by_side_get_the_same_numbers(backend, dtype, rank_tol, rng):
    words, _ = store(rng.standard_normal((1100, 64)), dtype)

    def work(_):
        return compute_metrics(measure(backend, words, dtype, rank_tol), "full")

    # As `analyze` runs: one BLAS thread to a worker.
    with threadpool_limits(1, user_api="blas"):
        alone = work(0)
        results = together(work)
    assert alone["rank"] == 64
    for result in results:
        assert result == alone


def test_different_weights_side_by_side(backend, rng):
    shapes, dtypes = [(900, 30), (30, 900), (150, 150), (64, 70)], ["F32", "BF16", "F16", "F32"]
    stored = [store(rng.standard_normal(s), d)[0] for s, d in zip(shapes, dtypes, strict=True)]

    def work(index):
        words, dtype = stored[index], dtypes[index]
        operator = backend.operator_pass(*words.shape, dtype)
        for part in slabs_of(words, 200):
            operator.add(backend.load(part, dtype))
        batch = [backend.load(words, dtype) for _ in range(3)]
        grams = backend.gram_batch(batch, *words.shape, dtype)
        grams.append(gram_of(backend, words, dtype, True, extent=200))
        return [operator.apply(np.eye(min(words.shape))), *(gram.matrix for gram in grams)]

    with threadpool_limits(1, user_api="blas"):
        alone = [work(index) for index in range(THREADS)]
        results = together(work)
    for result, expected in zip(results, alone, strict=True):
        for outcome, exact in zip(result, expected, strict=True):
            np.testing.assert_array_equal(outcome, exact)


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F64"])
def test_chunks_may_be_used_in_another_thread_than_they_were_loaded_in(backend, dtype, rng):
    words, _ = store(rng.standard_normal((100, 20)), dtype)
    chunk = backend.load(words, dtype)

    def work(_):
        return backend.gram_batch([chunk, chunk], 100, 20, dtype)[1].matrix

    for result in together(work):
        np.testing.assert_array_equal(result, gram_of(backend, words, dtype).matrix)

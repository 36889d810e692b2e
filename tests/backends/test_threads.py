from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from matrices import measure, store
from threadpoolctl import threadpool_limits

from mlx_probe.metrics import compute_metrics

THREADS = 4


@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16", "F8_E4M3"])
@pytest.mark.parametrize("rank_tol", [1e-6, 1e-9])
def test_threads_side_by_side_get_the_same_numbers(backend, dtype, rank_tol, rng):
    words, _ = store(rng.standard_normal((1100, 64)), dtype)
    start = Barrier(THREADS)

    def work(_):
        start.wait(timeout=60)
        return compute_metrics(measure(backend, words, dtype, rank_tol), "full")

    # As `analyze` runs: one BLAS thread to a worker.
    with threadpool_limits(1, user_api="blas"):
        alone = compute_metrics(measure(backend, words, dtype, rank_tol), "full")
        with ThreadPoolExecutor(THREADS) as pool:
            results = list(pool.map(work, range(THREADS)))
    assert alone["rank"] == 64
    for result in results:
        assert result == alone

"""The number of cores that a task may use: who sees it, who changes it, and that no bit does."""

import ctypes
import threading

import numpy as np
import pytest

from mlx_probe.compute import lapack
from mlx_probe.compute.cores import CoreShare, threads, width, width_address
from mlx_probe.compute.schedule import run_within_budget


def at(address):
    return ctypes.c_int64.from_address(address).value


def test_a_caller_without_a_share_has_one_core():
    assert width() == at(width_address()) == 1


def test_a_share_is_seen_while_it_changes():
    share = CoreShare(2)
    with threads(share):
        address = width_address()
        assert width() == at(address) == 2
        thread = threading.Thread(target=setattr, args=(share, "cores", 5))
        thread.start()
        thread.join()
        assert width() == at(address) == 5
        with threads(3):
            assert width() == at(width_address()) == 3
        assert width_address() == address
    assert width() == 1


def test_each_task_reads_its_own_share():
    together = threading.Barrier(3)

    def work(task):
        together.wait(30)
        return width_address()

    addresses = list(run_within_budget(work, [(i, 1) for i in range(3)], 3, 3, 3))
    assert len(set(addresses)) == 3


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_width_that_changes_between_chunks_changes_no_bit(order):
    size, rows = 2050, 6
    x = np.random.default_rng(size).standard_normal((4 * rows, size))
    results = []
    for cores in ((1, 1, 1, 1), (1, 3, 2, 1), (2, 1, 3, 16)):
        matrix, share = np.zeros((size, size)), CoreShare()
        with threads(share):
            for step, count in enumerate(cores):
                share.cores = count
                lapack.add_gram(matrix, np.array(x[step * rows : (step + 1) * rows], order=order))
        results.append(matrix)
    assert np.allclose(np.triu(results[0]), np.triu(x.T @ x), rtol=1e-12, atol=1e-12)
    assert all(np.array_equal(results[0], each) for each in results[1:])

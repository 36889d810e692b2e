"""Several at a time, and an end at once."""

import threading
import time

import pytest

from mlx_probe.source.transfer.threads import Stop, StoppedError, in_threads


def test_results_come_in_order():
    done = []
    squares = in_threads(lambda n: n * n, range(50), 4, Stop(), done.append)
    assert squares == [n * n for n in range(50)]
    assert sorted(done) == squares
    assert in_threads(len, [], 4, Stop()) == []


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_ends_the_others(failure):
    stop, begun, started = Stop(), threading.Barrier(2), []

    def work(n):
        started.append(n)
        if n > 1:
            time.sleep(0.001)  # or all are over before anybody hears of the failure
            return
        begun.wait()
        if n == 1:
            raise failure("the first")
        while True:
            stop.check()

    with pytest.raises(failure, match="the first"):
        in_threads(work, range(1000), 2, stop)
    assert len(started) < 1000


def test_one_that_fails_to_take_results_ends_them_too():
    def refuse(result):
        raise KeyboardInterrupt

    stop = Stop()
    with pytest.raises(KeyboardInterrupt):
        in_threads(str, range(3), 1, stop, refuse)
    with pytest.raises(StoppedError):
        stop.check()

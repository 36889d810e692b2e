import threading

import numpy as np
import pytest

from mlx_probe.runs.monitor import STAGES, UsageMeter, Work
from mlx_probe.runs.monitor import usage as module


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock)
    return clock


def test_peak_memory_is_never_below_the_current():
    with UsageMeter(lambda: (0, 0)) as meter:
        for size in (1, 40, 3, 80, 2):
            ballast = np.ones(size * 100_000)
            usage = meter.usage()
            assert 0 < usage.memory <= usage.peak_memory
            del ballast


def test_the_peak_stays_when_the_memory_goes():
    with UsageMeter(lambda: (0, 0)) as meter:
        ballast = np.ones(8_000_000)
        high = meter.usage().memory
        del ballast
        usage = meter.usage()
    assert usage.memory < high <= usage.peak_memory


def test_threads_lose_no_work():
    def work(stage):
        for _ in range(2000):
            meter.add(stage, 0.5, 3, 0.25)

    with UsageMeter(lambda: (0, 0)) as meter:
        stages = ("gram", "read", "gram", "read", "gram")
        threads = [threading.Thread(target=work, args=(stage,)) for stage in stages]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        usage = meter.usage()
    assert usage.stages == {
        "read": Work(2000.0, 12_000, 1000.0),
        "gram": Work(3000.0, 18_000, 1500.0),
    }
    assert usage.bytes_read == 12_000


def test_stages_come_in_their_order():
    meter = UsageMeter(lambda: (0, 0))
    assert meter.usage().stages == {}
    for stage in reversed(STAGES):
        meter.add(stage, 1.0)
    assert list(meter.usage().stages) == list(STAGES)
    with pytest.raises(KeyError):
        meter.add("nonsense", 1.0)


def test_usage_is_of_its_moment():
    meter = UsageMeter(lambda: (0, 0))
    meter.add("solve", 1.0, flops=8.0)
    before = meter.usage()
    meter.add("solve", 1.0, flops=8.0)
    assert before.stages == {"solve": Work(1.0, 0, 8.0)}


def test_bandwidth_mean_and_peak(clock):
    # Never entered: no thread looks but this one.
    meter = UsageMeter(lambda: (0, 0))
    for nbytes in (100, 100, 900, 100):
        meter.add("read", 0.1, nbytes)
        meter.add("moments", 0.1, nbytes)
        clock.now += 1.0
        usage = meter.usage()
    assert usage.seconds == 4.0
    assert usage.bytes_read == 1200
    assert usage.mean_bandwidth == 300.0
    assert usage.peak_bandwidth == 900.0


def test_a_run_shorter_than_the_window_has_its_mean_as_peak(clock):
    meter = UsageMeter(lambda: (0, 0))
    meter.add("read", 0.1, 100)
    clock.now += 0.25
    assert meter.usage().peak_bandwidth == meter.usage().mean_bandwidth == 400.0


def test_no_time_no_bandwidth(clock):
    meter = UsageMeter(lambda: (0, 0))
    assert meter.usage().mean_bandwidth == 0.0


def test_the_device_tells_its_own_peak():
    with UsageMeter(lambda: (7, 11)) as meter:
        usage = meter.usage()
    assert (usage.device_memory, usage.peak_device_memory) == (7, 11)


def test_the_thread_ends_with_the_run():
    with UsageMeter(lambda: (0, 0)):
        assert "monitor" in {thread.name for thread in threading.enumerate()}
    assert "monitor" not in {thread.name for thread in threading.enumerate()}

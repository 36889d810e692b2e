import threading
import time
from mmap import mmap

import numpy as np
import pytest

from mlx_probe.runs.monitor import Stage, UsageMeter, Work
from mlx_probe.runs.monitor import usage as module

STAGES = {name: Stage(name, name) for name in ("read", "moments", "gram", "solve")}


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
    with UsageMeter(STAGES) as meter:
        for size in (1, 40, 3, 80, 2):
            ballast = np.ones(size * 100_000)
            usage = meter.usage()
            assert 0 < usage.memory <= usage.peak_memory
            del ballast


def test_the_peak_stays_when_the_memory_goes():
    with UsageMeter(STAGES) as meter:
        # Straight from the system: an allocator may keep what is freed.
        with mmap(-1, 64_000_000) as ballast:
            ballast.write(b"\1" * 64_000_000)
            time.sleep(2 * module.INTERVAL)
            high = meter.usage().memory
        time.sleep(2 * module.INTERVAL)
        usage = meter.usage()
    assert usage.memory < high <= usage.peak_memory


def test_threads_lose_no_work():
    def work(stage):
        for _ in range(2000):
            meter.add(stage, 0.5, 3, 0.25)

    with UsageMeter(STAGES) as meter:
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
    meter = UsageMeter(STAGES)
    assert meter.usage().stages == {}
    for stage in reversed(STAGES):
        meter.add(stage, 1.0)
    assert list(meter.usage().stages) == list(STAGES)
    with pytest.raises(KeyError):
        meter.add("nonsense", 1.0)


def test_usage_is_of_its_moment():
    meter = UsageMeter(STAGES)
    meter.add("solve", 1.0, flops=8.0)
    before = meter.usage()
    meter.add("solve", 1.0, flops=8.0)
    assert before.stages == {"solve": Work(1.0, 0, 8.0)}


def test_bandwidth_mean_and_peak(clock):
    # Never entered: no thread looks but this one.
    meter = UsageMeter(STAGES)
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
    meter = UsageMeter(STAGES)
    meter.add("read", 0.1, 100)
    clock.now += 0.25
    assert meter.usage().peak_bandwidth == meter.usage().mean_bandwidth == 400.0


def test_no_time_no_bandwidth(clock):
    meter = UsageMeter(STAGES)
    assert meter.usage().mean_bandwidth == 0.0


def test_the_peak_of_the_device_is_its_own():
    with UsageMeter(STAGES, lambda: (7, 11)) as meter:
        usage = meter.usage()
    assert (usage.device_memory, usage.peak_device_memory) == (7, 11)


def test_the_thread_ends_with_the_run():
    with UsageMeter(STAGES):
        assert "monitor" in {thread.name for thread in threading.enumerate()}
    assert "monitor" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def meter(monkeypatch):
    """Its gate's clock stands still but for what a test adds to it."""
    meter = UsageMeter(STAGES)
    meter.now = 0.0
    monkeypatch.setattr(meter.gate, "clock", lambda: meter.now)
    return meter


def spend(meter, seconds):
    meter.now += seconds


def test_a_stage_counts_what_its_block_took(meter):
    with meter.stage("read", 7, 3.0) as reading:
        spend(meter, 2.0)
    assert reading.seconds == 2.0
    assert meter.usage().stages == {"read": Work(2.0, 7, 3.0)}


def test_a_block_may_say_what_it_was_when_it_knows(meter):
    with meter.stage("gram") as block:
        spend(meter, 2.0)
        block.stage, block.nbytes, block.flops, block.cores = "solve", 5, 9.0, 3
    assert block.seconds == 6.0
    assert meter.usage().stages == {"solve": Work(6.0, 5, 9.0)}


def test_nested_stages_count_once(meter):
    with meter.stage("solve"):
        spend(meter, 1.0)
        with meter.stage("gram"):
            spend(meter, 2.0)
            with meter.stage("read"):
                spend(meter, 4.0)
        with meter.stage("read"):
            spend(meter, 8.0)
        spend(meter, 16.0)
    assert {name: work.seconds for name, work in meter.usage().stages.items()} == {
        "read": 12.0,
        "gram": 2.0,
        "solve": 17.0,
    }


def test_a_block_that_is_no_stage_is_taken_out_of_the_one_around_it(meter):
    with meter.stage("solve"):
        spend(meter, 1.0)
        with meter.timed() as waiting:
            spend(meter, 2.0)
            with meter.stage("read"):
                spend(meter, 4.0)
    assert waiting.seconds == 6.0
    assert meter.usage().stages == {"read": Work(4.0), "solve": Work(1.0)}


def test_a_block_that_fails_counts_nothing_and_leaves_the_others_right(meter):
    def fail():
        with meter.stage("gram", 8):
            spend(meter, 2.0)
            raise ZeroDivisionError

    with meter.stage("solve"):
        spend(meter, 1.0)
        with pytest.raises(ZeroDivisionError):
            fail()
        spend(meter, 4.0)
    assert meter.usage().stages == {"solve": Work(5.0)}


def test_blocks_of_other_threads_are_not_nested(meter):
    def work():
        with meter.stage("read"):
            spend(meter, 1.0)

    with meter.stage("solve"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert meter.usage().stages == {"read": Work(1.0), "solve": Work(1.0)}


def test_time_at_the_gate_does_not_count():
    meter = UsageMeter(STAGES)
    meter.gate.pause()
    threading.Timer(0.2, meter.gate.resume).start()
    with meter.stage("read") as block:
        meter.gate.wait()
    assert meter.gate.paused_seconds >= 0.2
    assert block.seconds < 0.1


def test_a_stage_that_the_job_has_not_is_an_error(meter):
    with pytest.raises(KeyError), meter.stage("nonsense"):
        pass
    assert meter.work("nonsense") == Work()

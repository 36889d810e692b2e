"""The share of the machine, with a clock that stands still unless somebody works or waits."""

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.lab.train.watch.pace import Pace, cpu_seconds


class Machine:
    """One thread of work takes a CPU second for each second."""

    def __init__(self):
        self.now = self.used = 0.0

    def work(self, seconds):
        self.now += seconds
        self.used += seconds

    def sleep(self, seconds):
        self.now += seconds

    def pace(self, cores):
        return Pace(cores, lambda: self.used, lambda: self.now, self.sleep)


SECONDS = st.floats(0, 100)


@settings(max_examples=50)
@given(st.floats(0.01, 4), st.lists(st.tuples(SECONDS, SECONDS), max_size=20))
def test_the_share_holds_after_every_wait(cores, phases):
    machine = Machine()
    pace = machine.pace(cores)
    for work, idle in phases:
        machine.work(work)
        machine.sleep(idle)
        pace.wait()
        assert machine.used <= cores * machine.now * (1 + 1e-9) + 1e-5


@settings(max_examples=50)
@given(st.floats(0.01, 4), st.lists(SECONDS, min_size=1, max_size=20))
def test_it_waits_no_longer_than_it_has_to(cores, works):
    machine = Machine()
    pace = machine.pace(cores)
    for work in works:
        before = machine.now
        machine.work(work)
        pace.wait()
        assert machine.now - before <= max(work, work / cores) * (1 + 1e-9) + 1e-3


def test_a_long_rest_pays_for_little():
    machine = Machine()
    pace = machine.pace(0.2)
    machine.sleep(1000)
    pace.wait()
    machine.work(10)
    before = machine.now
    pace.wait()
    # Half a CPU second was saved up, and two come in the ten seconds of work.
    assert machine.now - before == pytest.approx((10 - 2 - 0.5) / 0.2)


def test_work_that_is_announced_is_paid_for_first():
    machine = Machine()
    pace = machine.pace(0.25)
    pace.wait(ahead=3.0)
    assert machine.now == pytest.approx(12)
    machine.work(3)
    pace.wait()
    assert machine.now == pytest.approx(15)


def test_no_limit():
    machine = Machine()
    pace = machine.pace(math.inf)
    machine.work(5)
    pace.wait(ahead=100)
    assert machine.now == 5


def test_real_work_takes_its_share():
    began, used = time.monotonic(), cpu_seconds()
    pace = Pace(0.25, lambda: cpu_seconds() - used)
    while time.monotonic() - began < 0.8:
        until = cpu_seconds() + 0.02
        while cpu_seconds() < until:
            sum(range(1000))
        pace.wait()
    share = (cpu_seconds() - used) / (time.monotonic() - began)
    assert 0.05 < share < 0.3

"""The schedule under failures and arbitrary work; the simple cases are in test_schedule."""

import threading
from concurrent.futures import wait

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.schedule import run_within_budget

PATIENCE = 30


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.lists(st.integers(0, 20), max_size=25), st.integers(1, 5), st.integers(1, 30))
def test_every_task_runs_once_within_workers_and_budget(sizes, workers, budget):
    lock, under_way, wrong = threading.Lock(), [], []

    def work(index):
        with lock:
            under_way.append(sizes[index])
            # Nothing fits beside what is larger than the budget.
            fits = sum(under_way) <= budget or len(under_way) == 1
            if not fits or len(under_way) > workers:
                wrong.append(list(under_way))
        with lock:
            under_way.remove(sizes[index])
        return index

    found = list(run_within_budget(work, list(enumerate(sizes)), workers, budget))
    assert sorted(found) == list(range(len(sizes)))
    assert not wrong


def test_a_task_above_the_budget_runs_alone():
    beside, small_done = [], threading.Event()

    def work(size):
        if size > 10:
            beside.append(small_done.is_set())
        else:
            small_done.set()
        return size

    tasks = [(size, size) for size in (3, 50, 4)]
    assert list(run_within_budget(work, tasks, 3, 10)) == [3, 50, 4]
    assert beside == [True]


def test_a_small_task_does_not_overtake_one_that_waits(monkeypatch):
    release, started, looks = threading.Event(), [], []

    def look(running, return_when):
        looks.append(len(running))
        if len(looks) == 2:  # whatever may start beside "first" has been started
            release.set()
        return wait(running, return_when=return_when)

    def work(name):
        started.append(name)
        assert name != "first" or release.wait(PATIENCE)
        return name

    monkeypatch.setattr("mlx_probe.schedule.wait", look)
    tasks = [("quick", 1), ("first", 6), ("large", 10), ("small", 1)]
    results = list(run_within_budget(work, tasks, 4, 10))
    assert results == ["quick", "first", "large", "small"]
    assert started.index("large") < started.index("small")


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_results_of_one_moment_come_before_its_failure(monkeypatch, failure):
    # Deterministic: the scheduler looks only when everything has ended.
    monkeypatch.setattr("mlx_probe.schedule.wait", lambda running, return_when: wait(running))

    def work(index):
        if index == 0:
            raise failure("zero")
        return index

    results = run_within_budget(work, [(i, 1) for i in range(3)], 3, 3)
    assert sorted([next(results), next(results)]) == [1, 2]
    with pytest.raises(failure, match="zero"):
        next(results)


def test_nothing_starts_after_a_failure():
    started = []

    def work(index):
        started.append(index)
        raise ValueError(index)

    with pytest.raises(ValueError, match="0"):
        list(run_within_budget(work, [(i, 1) for i in range(10)], 1, 10))
    assert started == [0]


def test_whoever_stops_listening_stops_the_work():
    started = []
    results = run_within_budget(started.append, [(i, 1) for i in range(100)], 1, 1)
    next(results)
    results.close()
    assert len(started) == 1

"""The schedule under failures and arbitrary work; the simple cases are in test_schedule."""

import threading
from concurrent.futures import wait

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.compute.schedule import run_within_budget

TIMEOUT = 30


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

    results = list(run_within_budget(work, list(enumerate(sizes)), workers, budget))
    assert sorted(results) == list(range(len(sizes)))
    assert not wrong


def test_a_task_above_the_budget_runs_alone():
    lock, under_way, beside = threading.Lock(), [], []

    def work(size):
        with lock:
            under_way.append(size)
            if size > 10:
                beside.extend(under_way)
        with lock:
            under_way.remove(size)
        return size

    tasks = [(size, size) for size in (3, 50, 4)]
    assert sorted(run_within_budget(work, tasks, 3, 10)) == [3, 4, 50]
    assert beside == [50]


def test_small_tasks_fill_what_large_ones_leave():
    together, started = threading.Barrier(2), []

    def work(name):
        started.append(name)
        # Only if "fits" overtakes "waits" do two of them come together.
        if name in ("large", "fits"):
            together.wait(TIMEOUT)
        return name

    tasks = [("large", 7), ("waits", 6), ("fits", 3), ("last", 2)]
    results = list(run_within_budget(work, tasks, 2, 10))
    assert sorted(results) == ["fits", "large", "last", "waits"]
    assert set(started[:2]) == {"large", "fits"}


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_results_of_one_moment_come_before_its_failure(monkeypatch, failure):
    # Deterministic: the scheduler looks only when everything has ended.
    monkeypatch.setattr(
        "mlx_probe.compute.schedule.wait", lambda running, return_when: wait(running)
    )

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
    # One more was under way while the first result was handed over.
    assert len(started) <= 2

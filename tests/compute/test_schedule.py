import threading
import time

import pytest

from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.core.errors import Stopped


class Gauge:
    """Work that records how much of it is under way at once."""

    def __init__(self, together=1):
        self.lock = threading.Lock()
        self.now = self.most = self.now_bytes = self.most_bytes = 0
        self.barrier = threading.Barrier(together)

    def __call__(self, task):
        name, size = task
        with self.lock:
            self.now += 1
            self.now_bytes += size
            self.most = max(self.most, self.now)
            self.most_bytes = max(self.most_bytes, self.now_bytes)
        self.barrier.wait(timeout=30)
        with self.lock:
            self.now -= 1
            self.now_bytes -= size
        return name


def tasks(*sizes):
    return [((i, size), size) for i, size in enumerate(sizes)]


def test_all_workers_work_at_once():
    gauge = Gauge(together=3)
    assert sorted(run_within_budget(gauge, tasks(*[1] * 9), 3, 100)) == list(range(9))
    assert gauge.most == 3


@pytest.mark.parametrize("budget", [10, 15, 25])
def test_the_budget_is_never_exceeded(budget):
    gauge = Gauge()
    result = list(run_within_budget(gauge, tasks(*[5, 10, 3, 8, 1, 10, 2] * 5), 4, budget))
    assert sorted(result) == list(range(35))
    assert gauge.most_bytes <= budget


def test_one_worker_keeps_the_order():
    assert list(run_within_budget(Gauge(), tasks(*range(1, 20)), 1, 1000)) == list(range(19))


def test_no_tasks_no_results():
    assert list(run_within_budget(Gauge(), [], 2, 10)) == []


def test_a_failure_passes_on_after_the_results_before_it():
    def work(number):
        if number == 3:
            raise ValueError("three")
        return number

    results = run_within_budget(work, [(i, 1) for i in range(6)], 1, 10)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_a_task_that_runs_alone_is_called_so():
    def run(tasks, workers, budget):
        def work(task):
            return task, "beside"

        def alone(task):
            return task, "alone"

        return dict(run_within_budget(work, tasks, workers, budget, alone))

    assert run([("a", 1)], 2, 10) == {"a": "alone"}
    assert run([("a", 1)], 1, 10) == {"a": "beside"}
    assert set(run([("a", 1), ("b", 1)], 2, 10).values()) == {"beside"}
    # Memory for one at a time.
    assert run([("a", 8), ("b", 8)], 2, 10) == {"a": "alone", "b": "alone"}
    # The third starts while the first or second may still be under way, or when both are done.
    row = run([("a", 5), ("b", 5), ("c", 10)], 2, 10)
    assert (row["a"], row["b"], row["c"]) == ("beside", "beside", "alone")


def test_a_refused_task_ends_the_schedule_when_the_others_are_done():
    under_way, begun = threading.Event(), []

    def work(task):
        begun.append(task)
        if task == 1:
            assert under_way.wait(30)
            raise Stopped("the rule", "Go on later")
        if task == 2:
            under_way.set()
            # Still running when the other one has been refused.
            time.sleep(0.2)
        return task

    results, result = run_within_budget(work, [(i, 1) for i in range(1, 9)], 2, 100), []
    with pytest.raises(Stopped, match="the rule"):
        result.extend(results)
    assert result == [2]
    assert begun == [1, 2]

import threading
import time

import pytest

from mlx_probe.compute.cores import width
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


def widths(tasks, workers, budget, cores):
    """The cores that each task sees at its end, when the tasks beside it began long ago."""
    seen = {}

    def work(name):
        end = time.monotonic() + 30
        while not ends[name]() and time.monotonic() < end:
            time.sleep(0.001)
        seen[name] = width()

    ends = {name: ready for name, ready, _ in tasks}
    sized = [(name, size) for name, _, size in tasks]
    for _ in run_within_budget(work, sized, workers, budget, cores):
        pass
    return seen


def seeing(cores):
    """Whether the task that asks has so many cores: the others have ended."""
    return lambda: width() == cores


def always():
    return True


@pytest.mark.parametrize(
    ("workers", "budget", "cores", "tasks", "expected"),
    [
        pytest.param(2, 9, 2, [("a", seeing(2), 1)], {"a": 2}, id="alone"),
        pytest.param(1, 9, 1, [("a", always, 1)], {"a": 1}, id="one worker"),
        pytest.param(4, 9, 2, [("a", seeing(2), 1)], {"a": 2}, id="more workers than cores"),
        pytest.param(
            *(2, 9, 2, [("a", seeing(2), 5), ("b", seeing(1), 1)], {"a": 2, "b": 1}),
            id="the last one takes over",
        ),
        pytest.param(
            *(2, 9, 2, [("a", seeing(2), 8), ("b", seeing(2), 8)], {"a": 2, "b": 2}),
            id="memory for one at a time",
        ),
        pytest.param(
            *(3, 9, 8, [("a", seeing(8), 1), ("b", seeing(4), 3), ("c", seeing(3), 2)]),
            {"a": 8, "b": 4, "c": 3},
            id="what is left over goes to the largest",
        ),
    ],
)
def test_idle_cores_are_lent(workers, budget, cores, tasks, expected):
    assert widths(tasks, workers, budget, cores) == expected


def test_lent_cores_go_back_when_a_task_starts():
    seen, small, again = [], threading.Event(), threading.Event()

    def work(name):
        if name == "large":
            # The third task does not fit yet: this one and the first share four cores.
            assert small.wait(30)
            return name
        if name == "first":
            seen.append(wait_for(2))
            small.set()
            seen.append(wait_for(1))
            again.set()
            return name
        assert again.wait(30)
        return name

    def wait_for(cores):
        end = time.monotonic() + 30
        while width() != cores and time.monotonic() < end:
            time.sleep(0.001)
        return width()

    tasks = [("first", 1), ("large", 8), *((str(i), 3) for i in range(3))]
    assert len(list(run_within_budget(work, tasks, 4, 10, 4))) == 5
    assert seen == [2, 1]


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

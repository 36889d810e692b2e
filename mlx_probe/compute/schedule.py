"""Work on many weights at once, within a budget of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from mlx_probe.compute.cores import CoreShare, threads
from mlx_probe.core.errors import Stopped
from mlx_probe.core.machine import usable_cores

__all__ = ["run_within_budget"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_within_budget(
    work: Callable[[Task], Result],
    tasks: Sequence[tuple[Task, int]],
    workers: int,
    budget: int,
    cores: int | None = None,
) -> Iterator[Result]:
    """Results of ``work``, each as soon as it is finished, not in order.

    A free worker takes the first task that fits into the memory left. If the longest tasks come
    first, short ones fill the time and the memory that they leave.

    Each task has one core. Cores that would be idle because no other task can start are lent to
    the tasks that run, until another one starts: the last large matrix ends on all cores. Tasks
    see their number by `lapack.width`.

    Args:
        work: Called in a worker thread.
        tasks: Every task with the bytes that it needs, none above the budget.
        workers: Threads.
        budget: Bytes.
        cores: Cores for all workers together; None for as many as there are workers, or as this
            process may use if these are fewer.

    Yields:
        One result for each task.

    Raises:
        Stopped: A task was refused. No other task starts, and the results of the running ones
            come first.
        BaseException: What ``work`` raised, at once. Tasks that have started go on in their
            threads, and their results are lost.
    """
    waiting = list(tasks)
    running: dict[Future[Result], _Running] = {}
    cores = min(workers, usable_cores()) if cores is None else cores
    stopped: BaseException | None = None
    executor = ThreadPoolExecutor(workers, thread_name_prefix="probe")

    def start() -> None:
        while waiting and len(running) < workers:
            free = budget - sum(each.size for each in running.values())
            fitting = (i for i, (_, size) in enumerate(waiting) if size <= free)
            # A task that runs alone may start in any case.
            index = next(fitting, None if running else 0)
            if index is None:
                break
            task, size = waiting.pop(index)
            # One core, until all that can start have started.
            share = CoreShare()
            running[executor.submit(_within, share, work, task)] = _Running(size, share)
        _lend(cores, list(running.values()))

    try:
        start()
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
            refused = [f.exception() for f in done if isinstance(f.exception(), Stopped)]
            stopped = stopped or next(iter(refused), None)
            finished = [f for f in done if not isinstance(f.exception(), Stopped)]
            # Results before failures: a result is never lost to a failure beside it.
            ordered = sorted(finished, key=lambda f: f.exception() is not None)
            # Before the results: the caller may take long over each of them.
            if stopped is None and ordered[-1].exception() is None:
                start()
            else:
                _lend(cores, list(running.values()))
            for future in ordered:
                yield future.result()
        if stopped is not None:
            raise stopped
    finally:
        # Do not wait for running tasks: a large matrix would delay Ctrl-C for minutes.
        executor.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class _Running:
    """A task under way.

    Attributes:
        size: Bytes that it needs.
        share: Cores that it has.
    """

    size: int
    share: CoreShare


def _within(share: CoreShare, work: Callable[[Task], Result], task: Task) -> Result:
    with threads(share):
        return work(task)


def _lend(cores: int, running: Sequence[_Running]) -> None:
    """Divide the cores among the tasks that run; what is left over goes to the largest."""
    each, left = divmod(cores, max(len(running), 1))
    by_size = sorted(running, key=lambda task: -task.size)
    for position, task in enumerate(by_size):
        task.share.cores = max(each + (position < left), 1)

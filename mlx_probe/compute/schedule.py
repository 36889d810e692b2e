"""Work on many weights at once, within a budget of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from mlx_probe.core.errors import Stopped

__all__ = ["run_within_budget"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_within_budget(
    work: Callable[[Task], Result],
    tasks: Sequence[tuple[Task, int]],
    workers: int,
    budget: int,
    alone: Callable[[Task], Result] | None = None,
) -> Iterator[Result]:
    """Results of ``work``, each as soon as it is finished, not in order.

    A free worker takes the first task that fits into the memory left. If the longest tasks come
    first, short ones fill the time and the memory that they leave.

    Args:
        work: Called in a worker thread.
        tasks: Every task with the bytes that it needs, none above the budget.
        workers: Threads.
        budget: Bytes.
        alone: Called instead of ``work`` for a task that runs alone from its beginning to its
            end, if there is more than one worker: it may use all cores.

    Yields:
        One result for each task.

    Raises:
        Stopped: A task was refused. No other task starts, and the results of the running ones
            come first.
        BaseException: What ``work`` raised, at once. Tasks that have started go on in their
            threads, and their results are lost.
    """
    waiting = list(tasks)
    running: dict[Future[Result], int] = {}
    stopped: BaseException | None = None
    executor = ThreadPoolExecutor(workers, thread_name_prefix="probe")

    def start() -> None:
        chosen: list[tuple[Task, int]] = []
        while waiting and len(running) + len(chosen) < workers:
            free = budget - sum(running.values()) - sum(size for _, size in chosen)
            fitting = (i for i, (_, size) in enumerate(waiting) if size <= free)
            # A task that runs alone may start in any case.
            index = next(fitting, None if running or chosen else 0)
            if index is None:
                break
            chosen.append(waiting.pop(index))
        # No other task starts before this one ends.
        is_alone = alone is not None and workers > 1 and len(chosen) == 1 and not running
        for task, size in chosen:
            running[executor.submit(alone if alone and is_alone else work, task)] = size

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
            if stopped is None and ordered[-1].exception() is None:
                # Before the results: the caller may take long over each of them.
                start()
            for future in ordered:
                yield future.result()
        if stopped is not None:
            raise stopped
    finally:
        # Do not wait for running tasks: a large matrix would delay Ctrl-C for minutes.
        executor.shutdown(wait=False, cancel_futures=True)

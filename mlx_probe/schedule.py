"""Work on many weights at once, within a budget of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

__all__ = ["run_within_budget"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_within_budget(
    work: Callable[[Task], Result],
    tasks: Sequence[tuple[Task, int]],
    workers: int,
    budget: int,
) -> Iterator[Result]:
    """Results of ``work`` as they finish, not in order.

    A free worker takes the first task that fits beside those under way: put the longest first,
    and short ones fill what they leave, of time and of memory.

    Args:
        work: Called in a worker thread.
        tasks: Every task with the bytes it needs, none above the budget.
        workers: Threads.
        budget: Bytes.

    Yields:
        One result for each task.

    Raises:
        BaseException: What ``work`` raised, at once: tasks that had started go on in their
            threads, and nobody hears of their results.
    """
    waiting = list(tasks)
    running: dict[Future[Result], int] = {}
    executor = ThreadPoolExecutor(workers, thread_name_prefix="probe")

    def start() -> None:
        while waiting and len(running) < workers:
            free = budget - sum(running.values())
            fitting = (i for i, (_, size) in enumerate(waiting) if size <= free)
            # Alone, a task may start in any case.
            chosen = next(fitting, None if running else 0)
            if chosen is None:
                break
            task, size = waiting.pop(chosen)
            running[executor.submit(work, task)] = size

    try:
        start()
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
            # Results that came in before a failure are handed on first: none is lost.
            ordered = sorted(done, key=lambda f: f.exception() is not None)
            if ordered[-1].exception() is None:
                # Before the results, which may take their reader a while.
                start()
            for future in ordered:
                yield future.result()
    finally:
        # Not waiting for what is under way: a large matrix would hold up Ctrl-C for minutes.
        executor.shutdown(wait=False, cancel_futures=True)

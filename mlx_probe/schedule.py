"""Work on many weights at once, within a budget of memory."""

from __future__ import annotations

from collections import deque
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

    Tasks start in order, as long as a worker is free and the sizes of those under way add up
    to no more than the budget; the next task waits for its turn rather than being overtaken.

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
    waiting = deque(tasks)
    running: dict[Future[Result], int] = {}
    executor = ThreadPoolExecutor(workers, thread_name_prefix="probe")
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                task, size = waiting[0]
                if running and sum(running.values()) + size > budget:
                    break
                waiting.popleft()
                running[executor.submit(work, task)] = size
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            # Results that came in before a failure are handed on first: none is lost.
            for future in sorted(done, key=lambda f: f.exception() is not None):
                del running[future]
                yield future.result()
    finally:
        # Not waiting for what is under way: a large matrix would hold up Ctrl-C for minutes.
        executor.shutdown(wait=False, cancel_futures=True)

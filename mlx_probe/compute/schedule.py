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
    """Results of ``work`` as they finish, not in order.

    A free worker takes the first task that fits beside those under way: put the longest first,
    and short ones fill what they leave, of time and of memory.

    Args:
        work: Called in a worker thread.
        tasks: Every task with the bytes it needs, none above the budget.
        workers: Threads.
        budget: Bytes.
        alone: Called instead of ``work`` for a task beside which no other will run from its
            beginning to its end, where there is more than one worker: it may use all cores.

    Yields:
        One result for each task.

    Raises:
        Stopped: A task was turned away; nothing else is started, and the results of those
            under way come first.
        BaseException: What ``work`` raised, at once: tasks that had started go on in their
            threads, and nobody hears of their results.
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
            # Alone, a task may start in any case.
            place = next(fitting, None if running or chosen else 0)
            if place is None:
                break
            chosen.append(waiting.pop(place))
        # Others start when one ends, and not before.
        lonely = alone is not None and workers > 1 and len(chosen) == 1 and not running
        for task, size in chosen:
            running[executor.submit(alone if alone and lonely else work, task)] = size

    try:
        start()
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
            turned_away = [f.exception() for f in done if isinstance(f.exception(), Stopped)]
            stopped = stopped or next(iter(turned_away), None)
            finished = [f for f in done if not isinstance(f.exception(), Stopped)]
            # Results that came in before a failure are handed on first: none is lost.
            ordered = sorted(finished, key=lambda f: f.exception() is not None)
            if stopped is None and ordered[-1].exception() is None:
                # Before the results, which may take their reader a while.
                start()
            for future in ordered:
                yield future.result()
        if stopped is not None:
            raise stopped
    finally:
        # Not waiting for what is under way: a large matrix would hold up Ctrl-C for minutes.
        executor.shutdown(wait=False, cancel_futures=True)

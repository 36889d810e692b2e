"""The main path, read first: stream the weights of a plan, measure them, yield rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from mlx_probe.analysis.measure import Measurer
from mlx_probe.analysis.order import Task, work_order
from mlx_probe.analysis.rows import copied_row, measured_rows
from mlx_probe.checkpoint import Weight
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.core.records import Row
from mlx_probe.runs.monitor import UsageMeter

if TYPE_CHECKING:
    from mlx_probe.analysis.plan import Plan

__all__ = ["Work", "analyze_rows"]

# What a worker does; returns rows that are finished, or none.
Work = Callable[[], list[Row]]


def analyze_rows(
    plan: Plan,
    finished: Mapping[int, Row],
    meter: UsageMeter,
    on_start: Callable[[Weight], None],
    beside: Sequence[tuple[Work, int]] = (),
) -> Iterator[list[Row]]:
    """Measure every weight of a plan.

    Args:
        plan: What to measure, with what, and how much of it at once.
        finished: Rows of an earlier process, by index.
        meter: Counts the cost of the stages.
        on_start: Called with each weight before it is measured, from a worker's thread.
        beside: Work without rows, with its bytes, for workers that no weight is left for.

    Yields:
        Rows that finish together. There is one row for each weight that is not finished; copies
        of other weights come last.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
        Stopped: The monitor's gate is closed for good.
    """
    measurer = Measurer(plan, meter)
    tasks = work_order(plan, finished)
    # Each task prefetches the one that comes after all workers have taken another task.
    in_turn = [task for task, _ in tasks]
    following = dict(zip(in_turn, in_turn[plan.config.workers :], strict=False))
    tiny = threading.Lock()

    def work(task: Task) -> list[Row]:
        meter.gate.wait()
        for index in chain(*following.get(task, ())):
            plan.weights[index].prefetch()
        # Tiny weights keep the interpreter busy and not the cores: two workers with such tasks
        # would wait for each other at every call, and take longer than one.
        with tiny if len(task) > 1 else nullcontext():
            return [row for batch in task for row in measured(batch)]

    def measured(batch: tuple[int, ...]) -> list[Row]:
        for index in batch:
            on_start(plan.weights[index])
        return measured_rows(plan, measurer, meter, batch)

    copies = {i: of for i, of in plan.aliases.items() if i not in finished}
    wanted = set(copies.values())
    originals = {of: finished[of] for of in wanted if of in finished}
    # One BLAS thread for each worker: several matrices at once are faster than several threads
    # for one, and sums do not depend on the number of workers. Cores that would be idle join in
    # the work on the matrices that are left, in the same tiles.
    queue: list[tuple[Work, int]] = [(partial(work, task), size) for task, size in tasks]
    queue += beside
    with threadpool_limits(1, user_api="blas"):
        for rows in run_within_budget(_called, queue, plan.config.workers, plan.budget):
            originals.update((row.index, row) for row in rows if row.index in wanted)
            yield rows
    for index, of in copies.items():
        on_start(plan.weights[index])
        yield [copied_row(plan, index, originals[of])]


def _called(work: Work) -> list[Row]:
    return work()

"""Streams a plan's pairs side by side, measures them and yields rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from itertools import chain
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from mlx_probe.analysis.compare.measure import PairMeasurer
from mlx_probe.analysis.compare.order import pair_order
from mlx_probe.analysis.compare.rows import measured_rows, prefetch
from mlx_probe.analysis.order import Task
from mlx_probe.checkpoint import Weight
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.core.records import Row
from mlx_probe.runs.monitor import UsageMeter

if TYPE_CHECKING:
    from mlx_probe.analysis.compare.plan import ComparePlan

__all__ = ["compare_rows"]


def compare_rows(
    plan: ComparePlan,
    finished: Collection[int],
    meter: UsageMeter,
    on_start: Callable[[Weight], None],
) -> Iterator[list[Row]]:
    """Measure every pair of a plan.

    Args:
        plan: What to compare, and how much of it at once.
        finished: Positions of pairs whose rows are there already.
        meter: Counts what the stages take.
        on_start: Called with a pair's weight before it is measured, from a worker's thread.

    Yields:
        Rows that finish together. There is one row for each pair that is not finished.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
        Stopped: The monitor's gate is closed for good.
    """
    measurer = PairMeasurer(plan.config, meter, plan.backend, plan.solvers)
    tasks = pair_order(plan, finished)
    # Each task prefetches the one that comes after all workers have taken another task.
    in_turn = [task for task, _ in tasks]
    following = dict(zip(in_turn, in_turn[plan.config.workers :], strict=False))
    tiny = threading.Lock()

    def work(task: Task) -> list[Row]:
        meter.gate.wait()
        for index in chain(*following.get(task, ())):
            prefetch(plan.pairs[index])
        # Tiny pairs keep the interpreter busy and not the cores: see `analyze_rows`.
        with tiny if len(task) > 1 else nullcontext():
            return [row for batch in task for row in measured(batch)]

    def measured(batch: tuple[int, ...]) -> list[Row]:
        for index in batch:
            on_start(plan.pairs[index].weight)
        return measured_rows(plan, measurer, batch)

    # One BLAS thread for each worker; see `analyze_rows`.
    with threadpool_limits(1, user_api="blas"):
        yield from run_within_budget(work, tasks, plan.config.workers, plan.budget)

"""Streams a plan's pairs side by side, measures them and yields rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from mlx_probe.analysis.compare.measure import PairMeasurer
from mlx_probe.analysis.compare.order import pair_order
from mlx_probe.analysis.order import Task
from mlx_probe.checkpoint import Weight
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.core.machine import host_name
from mlx_probe.core.records import Row
from mlx_probe.runs.monitor import UsageMeter

if TYPE_CHECKING:
    from mlx_probe.analysis.compare.pair import Pair
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
            _prefetch(plan.pairs[index])
        # Tiny pairs keep the interpreter busy and not the cores: see `analyze_rows`.
        with tiny if len(task) > 1 else nullcontext():
            return [row for batch in task for row in measured(batch)]

    def measured(batch: tuple[int, ...]) -> list[Row]:
        pairs = [(plan.pairs[index], plan.scopes[index]) for index in batch]
        for pair, _ in pairs:
            on_start(pair.weight)
        values = measurer.measure_batch(pairs) if len(pairs) > 1 else [measurer.measure(*pairs[0])]
        return [
            Row(index, {**_identity(pair), **each, "host": host_name()})
            for index, (pair, _), each in zip(batch, pairs, values, strict=True)
        ]

    # One BLAS thread for each worker; see `analyze_rows`.
    with threadpool_limits(1, user_api="blas"):
        yield from run_within_budget(work, tasks, plan.config.workers, plan.budget)


def _prefetch(pair: Pair) -> None:
    for weight in (pair.a, pair.b):
        if weight is not None and pair.status is None:
            weight.prefetch()


def _identity(pair: Pair) -> dict[str, Any]:
    """The columns that the headers give."""
    a, b, weight = pair.a, pair.b, pair.weight
    # For an adapter, B is one of its tensors: the table does not show it.
    shape, dtype, packing = _stored(a)
    other_shape, other_dtype, other_packing = _stored(None if pair.adaption is not None else b)
    return {
        "param_name": a.name if a else None,
        "other_name": b.name if b else None,
        "layer_index": weight.role.layer_index,
        "block_type": weight.role.block_type,
        "component": weight.role.component,
        "expert_index": weight.expert_index,
        "part": weight.part.name if weight.part else None,
        "shape": shape,
        "other_shape": other_shape,
        "rows": weight.rows,
        "cols": weight.cols,
        "numel": weight.numel,
        "dtype": dtype,
        "other_dtype": other_dtype,
        "packing": packing,
        "other_packing": other_packing,
        "matched_by": pair.matched_by,
    }


def _stored(side: Weight | None) -> tuple[Any, Any, Any]:
    """Shape, type and packing of one side; None for one that is not there."""
    if side is None:
        return None, None, None
    return side.shape, side.dtype, side.parameter.packing

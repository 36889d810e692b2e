"""The order and the batches in which the weights of a plan are measured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from mlx_probe.analysis.working_set import is_sketched
from mlx_probe.checkpoint.weight import Weight, chunk_extent

if TYPE_CHECKING:
    from mlx_probe.analysis.plan import Plan

__all__ = ["TINY", "Task", "tasks_of", "work_of", "work_order"]

# Positions of the weights of a task, in batches that are measured one after the other.
Task = tuple[tuple[int, ...], ...]

# Work (`_work`) of a tiny weight: a few microseconds. Measuring it takes longer for the
# number of calls, not for the arithmetic.
TINY = 1e5
# Tiny weights of a task: few enough that a killed run loses less than a tenth of a second.
TINY_TOGETHER = 64


def work_order(plan: Plan, finished: Collection[int]) -> list[tuple[Task, int]]:
    """The rest of a plan as tasks, the longest first, with the bytes that each needs.

    Long tasks come first, so that no worker begins one when the others have nothing left to do.
    If the backend is faster so, equal small matrices (experts, heads) are one batch. Tiny weights
    are one task, because handing out a task takes longer than measuring one of them.

    Args:
        plan: The plan.
        finished: Positions of finished weights.

    Returns:
        Tasks, and the working set of each. Copies of other weights are left out, and so is what
        the sample leaves out.
    """
    return tasks_of(_batches(plan, finished), lambda batch: _is_tiny(plan, batch))


def tasks_of(
    batches: Iterable[tuple[tuple[int, ...], int]], is_tiny: Callable[[tuple[int, ...]], bool]
) -> list[tuple[Task, int]]:
    """Batches as tasks, many tiny ones in a row as one, with the bytes that each needs.

    Args:
        batches: With the bytes of each.
        is_tiny: Whether a batch is one of those that are handed out together.
    """
    tasks: list[tuple[Task, int]] = []
    for tiny, run in groupby(batches, lambda each: is_tiny(each[0])):
        together = list(run)
        step = TINY_TOGETHER if tiny else 1
        for first in range(0, len(together), step):
            part = together[first : first + step]
            # One after the other: at most the largest is in memory.
            tasks.append((tuple(batch for batch, _ in part), max(size for _, size in part)))
    return tasks


def _batches(plan: Plan, finished: Collection[int]) -> list[tuple[tuple[int, ...], int]]:
    """Weights that are measured at once, the longest first, with their working set."""
    done = finished, plan.aliases, plan.unsampled
    todo = [i for i in range(len(plan.weights)) if not any(i in each for each in done)]
    todo.sort(key=lambda i: (-work_of(plan.weights[i]), i))
    batches: list[tuple[tuple[int, ...], int]] = []
    for size, run in groupby(todo, lambda i: _batch_size(plan, plan.weights[i])):
        if size == 1:
            batches += [((i,), plan.sizes[i]) for i in run]
            continue
        for _, equal in groupby(run, lambda i: _kind(plan.weights[i])):
            indices = tuple(equal)
            # As many as fit if every worker has such a batch.
            fitting = plan.budget // plan.config.workers // plan.sizes[indices[0]]
            step = max(1, min(size, fitting))
            for first in range(0, len(indices), step):
                batch = indices[first : first + step]
                batches.append((batch, sum(plan.sizes[i] for i in batch)))
    return batches


def _is_tiny(plan: Plan, batch: tuple[int, ...]) -> bool:
    return len(batch) == 1 and work_of(plan.weights[batch[0]]) <= TINY


def work_of(weight: Weight) -> float:
    """How long a weight takes, in flops of a product.

    The solver runs at about a quarter of a product's rate. An element costs about as much as a
    hundred flops.
    """
    elements = 100.0 * weight.numel
    if not weight.has_spectrum:
        return elements
    solving = 4 * 4 / 3 * float(weight.short) ** 3
    return elements + float(weight.numel) * weight.short + solving


def _kind(weight: Weight) -> tuple[object, ...]:
    return weight.rows, weight.cols, weight.chunk_dtype


def _batch_size(plan: Plan, weight: Weight) -> int:
    """The number of weights like this one that the backend takes at once."""
    if not weight.has_spectrum or is_sketched(weight, plan.config):
        return 1
    if weight.long > chunk_extent(weight.short):
        return 1
    return plan.backend.batch_size(*weight.extents)

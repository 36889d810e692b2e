"""The order and the batches in which the pairs of a comparison are measured."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby
from typing import TYPE_CHECKING

from mlx_probe.analysis.compare.scope import is_matrix
from mlx_probe.analysis.order import TINY, Task, tasks_of
from mlx_probe.checkpoint import chunk_extent

if TYPE_CHECKING:
    from mlx_probe.analysis.compare.pair import Pair
    from mlx_probe.analysis.compare.plan import ComparePlan

__all__ = ["longest_first", "pair_order", "work_of"]


def pair_order(plan: ComparePlan, finished: Collection[int]) -> list[tuple[Task, int]]:
    """The rest of a plan as tasks, the longest first, with the bytes that each needs.

    As `work_order` does it for weights: equal small matrices are one batch if the backend is
    faster so, and many tiny pairs are one task.

    Args:
        plan: The plan.
        finished: Positions of finished pairs.
    """
    batches = _batches(plan, [i for i in longest_first(plan) if i not in finished])
    return tasks_of(batches, lambda batch: _is_tiny(plan, batch))


def longest_first(plan: ComparePlan) -> list[int]:
    """Positions of the pairs, the longest first, and equal ones together."""
    # So no worker begins a long one when the others have nothing left to do.
    return sorted(
        range(len(plan.pairs)), key=lambda i: (-work_of(plan.pairs[i]), repr(_kind(plan, i)), i)
    )


def _batches(plan: ComparePlan, todo: list[int]) -> list[tuple[tuple[int, ...], int]]:
    """Pairs that are measured at once, with the bytes that they need."""
    batches: list[tuple[tuple[int, ...], int]] = []
    for (size, _), run in groupby(todo, lambda i: _kind(plan, i)):
        indices = list(run)
        # As many as fit if every worker has such a batch.
        fitting = plan.budget // plan.config.workers // max(plan.scopes[indices[0]].nbytes, 1)
        step = max(1, min(size, fitting))
        for first in range(0, len(indices), step):
            batch = tuple(indices[first : first + step])
            batches.append((batch, sum(plan.scopes[i].nbytes for i in batch)))
    return batches


def _kind(plan: ComparePlan, index: int) -> tuple[int, tuple[object, ...]]:
    """Pairs per batch at most, and what has to be equal in a batch."""
    pair, scope = plan.pairs[index], plan.scopes[index]
    a, b = pair.a, pair.b
    # A weight that is compared with itself has no Gram matrix to make.
    if pair.status is not None or pair.adaption is not None or a is None or b is None:
        return 1, ()
    if not is_matrix(pair) or not scope.spectrum or a.long > chunk_extent(a.short):
        return 1, ()
    size = plan.backend.batch_size(*a.extents)
    return size, (a.extents, a.chunk_dtype, b.chunk_dtype, scope.vectors)


def _is_tiny(plan: ComparePlan, batch: tuple[int, ...]) -> bool:
    return len(batch) == 1 and work_of(plan.pairs[batch[0]]) <= TINY


def work_of(pair: Pair) -> float:
    """How long a pair takes, in flops of a product; see `work_order`."""
    weight = pair.weight
    if pair.status is not None:
        return 0.0
    short = weight.short if weight.has_spectrum else 0
    return float(weight.numel) * (100 + short) + 4 * 4 / 3 * float(short) ** 3

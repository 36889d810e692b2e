"""Weights, or pairs of them, as units of work for a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from mlx_probe.analysis.cluster.dispatch import Unit
from mlx_probe.analysis.cluster.measuring import Measure
from mlx_probe.analysis.order import Task

__all__ = ["as_units"]

# Work (`work_of`) of a unit at least, where there are enough small weights: handing out a unit
# takes some milliseconds, this about a tenth of a second.
_TOGETHER = 2e9


def as_units(
    tasks: Sequence[Task],
    threads: int,
    label: Callable[[int], str],
    work: Callable[[int], float],
    one_host: bool = True,
) -> list[Unit]:
    """Tasks as units; small ones in a row are one.

    Args:
        tasks: The longest first.
        threads: Of all workers together.
        label: Name of a weight, by its position.
        work: How long one takes; see `work_of`.
        one_host: Whether all workers are on one machine, where what one of them reads ahead is
            there for all.
    """
    together = _together(tasks, threads, work)
    indices = [tuple(chain.from_iterable(task)) for task in together]
    # Each prefetches what comes after all workers have taken another unit. On several machines
    # that would be read by a worker that does not get it: there each begins with its own.
    following = [*indices[threads:], *((),) * min(threads, len(together))] if one_host else indices
    return [
        _unit(task, after, label, work) for task, after in zip(together, following, strict=True)
    ]


def _unit(
    task: Task,
    following: tuple[int, ...],
    label: Callable[[int], str],
    work: Callable[[int], float],
) -> Unit:
    indices = tuple(chain.from_iterable(task))
    several = len(indices) > 1
    return Unit(
        payload=Measure(task, following),
        name=label(indices[0]) + (f" and {len(indices) - 1} more" if several else ""),
        sizes=indices,
        at_once=max(map(len, task)),
        rows=len(indices),
        work=sum(map(work, indices)),
        parts=tuple(_unit(((i,),), (), label, work) for i in indices) if several else (),
    )


def _together(tasks: Sequence[Task], threads: int, work: Callable[[int], float]) -> list[Task]:
    """Small tasks in a row as one, unless a worker would have nothing to do then."""
    works = [sum(map(work, chain.from_iterable(task))) for task in tasks]
    least = min(_TOGETHER, sum(works) / max(8 * threads, 1))
    joined: list[Task] = []
    size = least
    for task, more in zip(tasks, works, strict=True):
        if size >= least:
            joined.append(())
            size = 0.0
        joined[-1] += task
        size += more
    return joined

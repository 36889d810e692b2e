"""Memory of an analysis: its peak, and the smallest limit that it can run with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_probe.analysis.budget import RESERVE
from mlx_probe.analysis.order import work_order
from mlx_probe.analysis.working_set import KEPT
from mlx_probe.compute import lapack

if TYPE_CHECKING:
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.checkpoint import Weight

__all__ = ["Memory", "memory_of", "most_at_once", "peak_of"]

# Bytes that a process adds while it measures and until its tables are written; bytes of a row; and
# the share of a worker's memory that the allocator keeps. Measured with numpy on Linux, on models
# of 12 to 20,000 tensors.
LOADED, LOADED_AT_END = 20_000_000, 33_000_000
ROW = 1_600
KEPT_SHARE, KEPT_AT_MOST = 0.7, 32_000_000


@dataclass(frozen=True)
class Memory:
    """Predicted memory of the process, in bytes.

    Attributes:
        process: Of the process when the plan was made.
        in_flight: Of the weights that are measured at once, at most.
        peak: The highest in the run.
        least: The smallest limit that allows the largest weight alone.
        limit: The run's limit.
        largest: Label of the weight that takes most.
    """

    process: int
    in_flight: int
    peak: int
    least: int
    limit: int
    largest: str

    @property
    def fits(self) -> bool:
        """Whether the run keeps to its limit."""
        return self.least <= self.limit


def memory_of(plan: Plan, limit: int) -> Memory:
    """Predict the peak of a run's resident memory, pages of the model's files included.

    The larger one of two: the weights in flight with the process itself, and, for small models,
    the process when it writes the tables.

    Args:
        plan: The plan.
        limit: Bytes that the run may take.
    """
    taken = plan.config.memory_limit - plan.budget
    process = taken - RESERVE
    # Sizes include what the allocator may keep, which `peak_of` adds instead.
    tasks = [
        (
            size - KEPT * max(map(len, task)),
            max(sum(_solving(plan.weights[i]) for i in batch) for batch in task),
        )
        for task, size in work_order(plan, {})
    ]
    sizes = [size for size, _ in tasks]
    workers = plan.config.workers
    in_flight = most_at_once(tasks, workers, plan.backend.lanes or workers, plan.budget)
    largest = max(range(len(plan.weights)), key=lambda i: plan.sizes[i])
    return Memory(
        process=process,
        in_flight=in_flight,
        peak=peak_of(process, in_flight, sizes[:workers], len(plan.weights)),
        least=taken + plan.sizes[largest],
        limit=limit,
        largest=plan.weights[largest].label,
    )


def peak_of(
    process: int,
    in_flight: int,
    longest: Sequence[int],
    rows: int,
    loaded: int = LOADED,
    at_end: int = LOADED_AT_END,
) -> int:
    """The peak of a process: while it measures, or when it writes the tables.

    Args:
        process: Bytes of the process before it measures.
        in_flight: Bytes of the tasks under way, where they take most.
        longest: Bytes of tasks of which the allocator keeps a share.
        rows: Number of rows.
        loaded: Bytes that the process adds while it measures.
        at_end: Bytes that it adds until the tables are written.
    """
    kept = sum(min(KEPT_SHARE * size, KEPT_AT_MOST) for size in longest)
    return max(process + loaded + in_flight, round(process + at_end + ROW * rows + kept))


def _solving(weight: Weight) -> int:
    """Bytes that a weight still takes after its elements have been streamed."""
    short = weight.short if weight.has_spectrum else 0
    return 8 * short**2 + lapack.workspace(short)


def most_at_once(tasks: Sequence[tuple[int, int]], workers: int, lanes: int, budget: int) -> int:
    """The most bytes that neighbouring tasks take together within the budget.

    Args:
        tasks: Bytes of each while its elements are streamed, and after that.
        workers: Tasks at once.
        lanes: Tasks that stream at once.
        budget: Bytes for them, all counted as streaming.
    """
    most = 0
    for start in range(len(tasks)):
        together: list[tuple[int, int]] = []
        for task in tasks[start : start + workers]:
            if together and sum(size for size, _ in together) + task[0] > budget:
                break
            together.append(task)
        streaming = sorted((size - after for size, after in together), reverse=True)[:lanes]
        most = max(most, sum(after for _, after in together) + sum(streaming))
    return most

"""How much memory an analysis will take at its peak, and how much it takes at least."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_probe.order import work_order
from mlx_probe.plan import KEPT, RESERVE, Plan

__all__ = ["Memory", "memory_of"]

# Bytes that come to a process while it measures (pandas, with pyarrow's first array) and until
# its tables are written; for each row; and what the allocator keeps of what a worker had.
# Measured with numpy on Linux, on models of 16 to 20,000 tensors.
LOADED, LOADED_AT_END = 54_000_000, 97_000_000
ROW = 6_500
KEPT_SHARE, KEPT_AT_MOST = 0.6, 32_000_000


@dataclass(frozen=True)
class Memory:
    """Predicted memory of the process, in bytes.

    Attributes:
        process: Of the process when the plan was made.
        in_flight: Of the weights that are measured at once, where they take most.
        peak: Highest in all.
        least: That a limit must allow for the largest weight alone.
        limit: That holds for the run.
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

    The weights in flight together with what the process itself has by then; or, for small
    models, what it has when it writes the tables.

    Args:
        plan: The plan.
        limit: Bytes that the run may take.
    """
    taken = plan.config.memory_limit - plan.budget
    process = taken - RESERVE
    rows = ROW * len(plan.weights)
    # A size is a bound that counts what the allocator may keep; that comes below.
    sizes = [size - KEPT * len(indices) for indices, size in work_order(plan, {})]
    in_flight = _most_at_once(sizes, plan.config.workers, plan.budget)
    longest = sizes[: plan.config.workers]
    kept = sum(min(KEPT_SHARE * size, KEPT_AT_MOST) for size in longest)
    largest = max(range(len(plan.weights)), key=lambda i: plan.sizes[i])
    return Memory(
        process=process,
        in_flight=in_flight,
        peak=max(process + LOADED + in_flight, round(process + LOADED_AT_END + rows + kept)),
        least=taken + plan.sizes[largest],
        limit=limit,
        largest=plan.weights[largest].label,
    )


def _most_at_once(sizes: list[int], workers: int, budget: int) -> int:
    """Bytes of neighbours in the order of work that fit together, where they are most."""
    most = 0
    for start in range(len(sizes)):
        together = 0
        for size in sizes[start : start + workers]:
            if together and together + size > budget:
                break
            together += size
        most = max(most, together)
    return most

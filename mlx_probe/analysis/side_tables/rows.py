"""The rows of a side table, part after part, within a budget of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from threadpoolctl import threadpool_limits

from mlx_probe.analysis.side_tables.side import SidePart, SideRow
from mlx_probe.compute.schedule import run_within_budget

__all__ = ["rows_in_order"]


def rows_in_order(
    parts: Sequence[SidePart], divided: bool, workers: int, budget: int
) -> Iterator[SideRow]:
    """Compute the parts of a side table.

    Args:
        parts: The parts.
        divided: See `Side`.
        workers: Parts at the same time, or workers of each part.
        budget: Bytes that parts may take together; a part that takes more runs alone.

    Yields:
        The rows, in the order of the parts. Workers take the next part when its rows are asked
        for.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
    """
    if divided:
        for part in parts:
            yield from part.rows(workers)
        return

    def work(number: int) -> tuple[int, Sequence[SideRow]]:
        return number, parts[number].rows(1)

    finished: dict[int, Sequence[SideRow]] = {}
    following = 0
    # Parts are too small for more than one thread each.
    with threadpool_limits(1, user_api="blas"):
        tasks = [(number, part.nbytes) for number, part in enumerate(parts)]
        for number, rows in run_within_budget(work, tasks, workers, budget):
            finished[number] = rows
            while following in finished:
                yield from finished.pop(following)
                following += 1

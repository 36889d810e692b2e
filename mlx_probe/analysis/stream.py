"""The main path, read first: stream the weights of a plan, measure them, yield rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timezone
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from mlx_probe.analysis.measure import Measurer, Outcome
from mlx_probe.analysis.order import Task, work_order
from mlx_probe.checkpoint import PLAIN, Weight
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.core.records import Row
from mlx_probe.core.version import __version__
from mlx_probe.metrics import BEYOND_RANGE, compute_metrics
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
        weights = [plan.weights[index] for index in batch]
        for weight in weights:
            on_start(weight)
        outcomes = measurer.measure(weights)
        with meter.stage("metrics"):
            return [
                Row(
                    index,
                    {**_identity(plan, weight), **_values(plan, weight, outcome)},
                    outcome.sigma if plan.config.save_spectra else None,
                )
                for index, weight, outcome in zip(batch, weights, outcomes, strict=True)
            ]

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
        yield [Row(index, _copied(plan, index, originals[of]))]


def _called(work: Work) -> list[Row]:
    return work()


def _identity(plan: Plan, weight: Weight) -> dict[str, Any]:
    """The columns that the headers give."""
    files, parameter = plan.checkpoint.files, weight.parameter
    plain = parameter.packing == PLAIN
    pieces = [piece.name for piece in (*parameter.pieces, *parameter.extra)]
    return {
        "model_path": str(files.path),
        "model_id": files.model_id,
        "revision": files.revision,
        "param_name": weight.name,
        "layer_index": weight.role.layer_index,
        "block_type": weight.role.block_type,
        "shape": weight.shape,
        "rows": weight.rows,
        "cols": weight.cols,
        "dtype": weight.dtype,
        "device": plan.backend.device,
        "backend": plan.backend.name,
        "framework": plan.checkpoint.framework,
        "code_version": __version__,
        "component": weight.role.component,
        "expert_index": weight.expert_index,
        "numel": weight.numel,
        "nbytes": weight.nbytes,
        "part": weight.part.name if weight.part else None,
        "packing": parameter.packing,
        "packing_detail": parameter.detail or None,
        "bits_per_weight": 8 * weight.nbytes / weight.numel if weight.numel else None,
        "pieces": None if plain else pieces,
    }


def _values(plan: Plan, weight: Weight, outcome: Outcome) -> dict[str, Any]:
    """The columns that measuring gives."""
    read = outcome.read_seconds
    metrics = (
        compute_metrics(outcome.measurement, plan.config.metrics) if outcome.measurement else {}
    )
    reason = outcome.reason
    if outcome.measurement and outcome.measurement.has_lost:
        reason = "; ".join(filter(None, (reason, BEYOND_RANGE)))
    return {
        "created_at": datetime.now(timezone.utc),
        "read_seconds": read,
        "compute_seconds": max(outcome.seconds - read, 0.0),
        "read_gbps": weight.nbytes / read / 1e9 if read > 0 else None,
        "status": outcome.status,
        "status_reason": reason,
        **metrics,
    }


def _copied(plan: Plan, index: int, original: Row) -> dict[str, Any]:
    """The columns of a copy: its own name and role, the numbers of the original."""
    return {
        **original.values,
        **_identity(plan, plan.weights[index]),
        "created_at": datetime.now(timezone.utc),
        "read_seconds": 0.0,
        "compute_seconds": 0.0,
        "read_gbps": None,
        "alias_of": plan.weights[original.index].label,
    }

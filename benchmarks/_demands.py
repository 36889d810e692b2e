"""What each task of a plan asks of a machine: of this one by its costs, of an M3 Ultra by counting.

The tasks, their order, their batches and their memory are the engine's own (`work_order`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from _costs import Costs
from _m3_ultra import WIDENED, Assumed, digits_of, entries_taken, products, slabs_of, survey
from _simulation import Demand, Machine, Outcome, Piece, simulate

from mlx_probe.analysis.cluster.dispatch import AHEAD
from mlx_probe.analysis.cluster.rows import units_of
from mlx_probe.analysis.forecast.duration import checking_of, steps_of
from mlx_probe.analysis.forecast.rates import curve_at
from mlx_probe.analysis.order import Task, work_order
from mlx_probe.analysis.plan import Plan
from mlx_probe.checkpoint import Weight
from mlx_probe.compute import lapack
from mlx_probe.core.machine import usable_cores

__all__ = ["NOW", "Changes", "Job", "here", "on_an_m3_ultra", "on_this_machine"]

# Growth beyond the last point of a curve of metrics.
GROWTH = (1.0, 2.0)


@dataclass(frozen=True)
class Changes:
    """What the engine might do otherwise.

    Attributes:
        digits: Digits of packed elements; 0 for those that the backend takes.
        fused: Factor of the bytes that the passes over elements move: fewer with fused kernels.
        widened: Bytes that an entry of a product takes from float32 to the int64 sum.
        host_decodes: Whether packed elements cross to the device as float32.
        processes: Whether each worker is a process.
    """

    digits: int = 0
    fused: float = 1.0
    widened: int = WIDENED
    host_decodes: bool = False
    processes: bool = False


NOW = Changes()


@dataclass(frozen=True)
class Job:
    """A simulation that may run in another process.

    Attributes:
        tasks: Demands in order.
        machines: The machines.
        costs: Unit costs.
        latency: Seconds of a message.
    """

    tasks: Sequence[Demand]
    machines: Sequence[Machine]
    costs: Costs
    latency: float = 0.0

    def outcome(self) -> Outcome:
        """The run, with its beginning and its end."""
        costs, rows = self.costs, sum(task.rows for task in self.tasks)
        run = simulate(self.tasks, self.machines, costs.row, self.latency, costs.start)
        around = costs.opened * rows + costs.row_after * rows + costs.finish
        return replace(run, seconds=run.seconds + around)


def here(plan: Plan, costs: Costs) -> Job:
    """A run of the numpy backend on this machine."""
    workers = plan.config.workers
    machine = Machine(
        workers=workers,
        cores=usable_cores(),
        budget=plan.budget,
        together=costs.together,
        lent=costs.lent,
    )
    return Job(on_this_machine(plan, costs), [machine], costs)


def on_this_machine(plan: Plan, costs: Costs) -> list[Demand]:
    """The tasks of a plan of the numpy backend, spot checks last; files are in memory."""
    tasks = []
    for task, size in work_order(plan, ()):
        demand = Demand(size, 0.0, rows=0, alone=len(task) > 1)
        for index in chain(*task):
            weight, steps = plan.weights[index], steps_of(plan, plan.weights[index], costs.rates)
            metrics, tiled = steps["metrics"], weight.short >= lapack.TILED
            solving = steps.get("gram", 0.0) + _solving(steps)
            python = _python(weight, costs) if weight.numel else 0.0
            elements = steps.get("read", 0.0) + steps.get("moments", 0.0) - python
            elements += costs.matrix if weight.has_spectrum else 0.0
            demand = replace(
                demand,
                divisible=demand.divisible + (solving if tiled else 0.0),
                single=demand.single
                + max(elements, 0.0)
                + (0.0 if tiled else solving)
                + (1 - costs.interpreted) * metrics,
                interpreter=demand.interpreter + python + costs.interpreted * metrics,
                rows=demand.rows + 1,
            )
        tasks.append(demand)
    return tasks + _checks(plan, costs, 1.0)


def on_an_m3_ultra(
    plan: Plan, costs: Costs, assumed: Assumed, changes: Changes = NOW, threads: int = 0
) -> list[Demand]:
    """The tasks of a plan of the MLX backend with a GPU; in one process, spot checks come last.

    Args:
        plan: The plan.
        costs: Unit costs of this machine.
        assumed: The machine.
        changes: What the engine does otherwise.
        threads: Tasks that all workers of a cluster run at once; 0 for a run in one process.
    """
    kinds: dict[tuple[object, ...], Demand] = {}
    tasks = []
    for task, size, ahead in _handed_out(plan, threads):
        # Nearly all tasks of a large model are of a few kinds.
        kind = (size, ahead, *(_kind(plan, batch) for batch in task))
        if kind not in kinds:
            demand = _task(plan, task, size, costs, assumed, changes)
            kinds[kind] = replace(demand, ahead=ahead)
        tasks.append(kinds[kind])
    # The client of a cluster makes its spot checks afterwards, on its own cores.
    return tasks if threads else tasks + _checks(plan, costs, _share(costs, assumed))


def _handed_out(plan: Plan, threads: int) -> Iterator[tuple[Task, int, bool]]:
    """Tasks with their bytes, and whether a cluster sends them ahead."""
    if not threads:
        yield from ((task, size, False) for task, size in work_order(plan, ()))
        return
    for unit in units_of(plan, {}, threads):
        task = unit.payload.task
        size = max(sum(plan.sizes[i] for i in batch) for batch in task)
        yield task, size, unit.work <= AHEAD


def _kind(plan: Plan, batch: tuple[int, ...]) -> tuple[object, ...]:
    weight = plan.weights[batch[0]]
    return len(batch), weight.shape, weight.chunk_dtype, weight.nbytes


def _task(
    plan: Plan, task: Task, size: int, costs: Costs, assumed: Assumed, changes: Changes
) -> Demand:
    demand = Demand(size, 0.0, rows=0, alone=len(task) > 1)
    for batch in task:
        for index in batch:
            one = _weight(plan.weights[index], len(batch), costs, assumed, changes)
            demand = replace(
                demand,
                read=demand.read + one.read,
                pieces=demand.pieces + one.pieces,
                divisible=demand.divisible + one.divisible,
                single=demand.single + one.single,
                interpreter=demand.interpreter + one.interpreter,
                rows=demand.rows + 1,
            )
    return demand


def _weight(
    weight: Weight, together: int, costs: Costs, assumed: Assumed, changes: Changes
) -> Demand:
    """One weight, which is multiplied with so many others at once."""
    if weight.problem is not None or not weight.shape or not weight.numel:
        return Demand(0, 0.0)
    rates, short = costs.rates, weight.short if weight.has_spectrum else 0
    packed = weight.encoding is not None
    digits = changes.digits if packed and changes.digits else digits_of(weight)
    pieces, operations, share = [], 0.0, _share(costs, assumed)
    for elements in slabs_of(weight):
        stored = elements * weight.nbytes / weight.numel
        copying = (4 * elements if packed and changes.host_decodes else stored) * rates.copy
        if packed and changes.host_decodes:
            copying += elements * costs.unpacking
        asked = survey(weight, elements, digits)
        waited = replace(asked, moved=asked.moved * changes.fused).seconds(assumed)
        piece = Piece(copying / share, waited, asked.waits * assumed.waiting)
        operations += asked.operations
        if short:
            queued = products(weight, elements, digits, together, changes.widened)
            piece = replace(piece, queued=queued.seconds(assumed))
            operations += queued.operations
        pieces.append(piece)
    metrics = curve_at(rates.metrics["standard"], max(short, 1), GROWTH) * (1 if short else 0.2)
    solving = curve_at(rates.solve, short, (2.7, 3.3)) if short else 0.0
    python = _python(weight, costs) + operations * costs.operation + costs.interpreted * metrics
    taking = entries_taken(weight, digits) * costs.taking if short else 0.0
    single = taking + (1 - costs.interpreted) * metrics
    return Demand(
        size=0,
        read=float(weight.nbytes),
        pieces=tuple(pieces),
        divisible=(solving if short >= lapack.TILED else 0.0) / share,
        single=(single + (0.0 if short >= lapack.TILED else solving)) / share,
        interpreter=python * assumed.bookkeeping,
    )


def _share(costs: Costs, assumed: Assumed) -> float:
    """Speed of an assumed core, in cores of the machine that measured."""
    side = lapack.TILED
    measured = (side + 1) / curve_at(costs.rates.gram, side, (1.0, 1.0))
    return assumed.core / measured


def _python(weight: Weight, costs: Costs) -> float:
    """Python of a weight, whatever its size; that of reading and of moments is in its steps."""
    fixed, _ = costs.rates.moments[weight.chunk_dtype]
    matrix = costs.matrix if weight.has_spectrum else 0.0
    return (costs.rates.opening or 0.0) + fixed + matrix


def _solving(steps: dict[str, float]) -> float:
    beside = {"read", "moments", "gram", "metrics"}
    return sum(seconds for stage, seconds in steps.items() if stage not in beside)


def _checks(plan: Plan, costs: Costs, share: float) -> list[Demand]:
    return [
        Demand(size, 0.0, single=seconds / share, rows=0)
        for _, seconds, size in checking_of(plan, costs.rates)
    ]

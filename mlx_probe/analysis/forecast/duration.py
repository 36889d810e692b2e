"""How long an analysis will take: the steps of all weights at this machine's rates."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from mlx_probe.analysis.forecast.rates import Rates, curve_at, unpacking_of
from mlx_probe.analysis.order import work_order
from mlx_probe.analysis.spotcheck import SVD_ELEMENTS, expected_rows, memory_of
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.working_set import is_sketched
from mlx_probe.compute.spectrum import METHODS, SpectrumMethod, gram_flops

if TYPE_CHECKING:
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.checkpoint import Weight

__all__ = [
    "Duration",
    "checking_of",
    "duration_of",
    "flops_by_stage",
    "steps_of",
    "wall_time",
]

# Seconds of a run beside the weights: importing what the tables need, writing them.
START, WRITING = 0.25, 0.04

# Seconds for each row: of the journal, of validation and of writing, on one core.
ROW, ROW_AFTER = 0.0012, 0.0002


@dataclass(frozen=True)
class Duration:
    """Predicted times.

    Attributes:
        stages: Seconds of all workers together in each of `STAGES`.
        measure: Seconds of wall time until the last row is there.
        finish: Seconds of wall time after it: validation, writing.
    """

    stages: Mapping[str, float]
    measure: float
    finish: float

    @property
    def seconds(self) -> float:
        """Wall time in all, without opening the model."""
        return self.measure + self.finish


def duration_of(plan: Plan, rates: Rates) -> Duration:
    """Predict a run from the time that each step of each weight takes.

    Workers take the tasks in `work_order`, as many at once as the budget holds; those that stream
    elements share the backend's lanes. Not included: waiting for the disk, matrices that are read
    again because their error bound is too wide, and side tables.

    Args:
        plan: The plan.
        rates: Those of `rates_for` this plan.
    """
    stages: Counter[str] = Counter()
    tasks = []
    for task, size in work_order(plan, {}):
        streamed = solved = 0.0
        for index in chain(*task):
            steps = steps_of(plan, plan.weights[index], rates)
            stages.update(steps)
            in_lane = sum(s for stage, s in steps.items() if STAGES[stage].in_lane)
            streamed, solved = streamed + in_lane, solved + sum(steps.values()) - in_lane
        tasks.append((streamed, solved, size))
    tasks += checking_of(plan, rates)
    lanes = plan.backend.lanes or plan.config.workers
    wall = wall_time(tasks, plan.config.workers, lanes, plan.budget)
    rows = len(plan.weights)
    return Duration(
        stages=dict(stages),
        measure=START + wall + ROW * (rows - len(plan.unsampled)),
        finish=WRITING + ROW_AFTER * rows,
    )


def flops_by_stage(plan: Plan) -> dict[str, float]:
    """Floating-point operations of the algorithms, as the cost account counts them."""
    flops: dict[str, float] = defaultdict(float)
    for index, weight in enumerate(plan.weights):
        if index in plan.aliases or index in plan.unsampled or not weight.has_spectrum:
            continue
        if not is_sketched(weight, plan.config):
            flops["gram"] += gram_flops(weight.numel, weight.short)
        method = _expected_method(plan, weight)
        flops[method.stage] += method.flops(float(weight.short), float(weight.long))
    return {stage: count for stage, count in flops.items() if count}


def _expected_method(plan: Plan, weight: Weight) -> SpectrumMethod:
    """The method for a matrix that is not nearly singular."""
    if is_sketched(weight, plan.config):
        return METHODS["block_lanczos"]
    return METHODS["cholesky_f64" if plan.config.metrics == "basic" else "gram_f64"]


def steps_of(plan: Plan, weight: Weight, rates: Rates) -> dict[str, float]:
    """Seconds of a weight in each stage, on one core.

    Args:
        plan: The plan.
        weight: One of its weights.
        rates: Those of `rates_for` this plan.

    Returns:
        Seconds by a key of `STAGES`.
    """
    steps = {"metrics": 0.0}
    if weight.problem is not None or not weight.shape or not weight.numel:
        return steps
    n = float(weight.numel)
    level = plan.config.metrics
    each = rates.unpack.get(unpacking_of(weight), rates.copy * weight.nbytes / n)
    steps["read"] = (rates.opening or 0.0) + n * each
    fixed, per_element = rates.moments[weight.chunk_dtype]
    steps["moments"] = fixed + n * per_element
    short = weight.short if weight.has_spectrum else 0
    steps["metrics"] = curve_at(rates.metrics[level], max(short, 1), (1.0, 2.0))
    if not short:
        # Most metrics need the spectrum; those of a vector take almost no time.
        steps["metrics"] *= 0.2
        return steps
    if level == "full":
        steps["moments"] += n * (rates.rounding or 0.0)
    per_flop = curve_at(rates.gram, short, (1.0, 1.0)) / short
    method = _expected_method(plan, weight)
    if not is_sketched(weight, plan.config):
        steps["gram"] = n * short * per_flop
    if method.name == "gram_f64":
        # The calibration measures it; the others are products, or nearly as fast.
        steps[method.stage] = curve_at(rates.solve, short, (2.7, 3.3))
    else:
        steps[method.stage] = method.flops(float(short), float(weight.long)) * per_flop
    return steps


def wall_time(
    tasks: list[tuple[float, float, int]], workers: int, lanes: int, budget: int
) -> float:
    """Seconds until all tasks are done, by a simulation of `run_within_budget`.

    Args:
        tasks: Seconds in a lane, seconds after it, and bytes, of each, in order.
        workers: Tasks at once.
        lanes: Tasks in a lane at once.
        budget: Bytes at once.
    """
    free_lanes = [0.0] * lanes
    running: list[tuple[float, int]] = []
    now, used = 0.0, 0
    waiting = list(reversed(tasks))
    while waiting or running:
        # The first task that fits, among the next 64: a longer search would change little.
        fitting = next(
            (i for i in range(1, min(len(waiting), 64) + 1) if waiting[-i][2] <= budget - used), 0
        )
        if len(running) < workers and (fitting or (waiting and not running)):
            streamed, solved, size = waiting.pop(-max(fitting, 1))
            alone = not running and not waiting
            lane = max(now, heapq.heappop(free_lanes))
            streamed /= lanes if alone else 1
            heapq.heappush(free_lanes, lane + streamed)
            heapq.heappush(running, (lane + streamed + solved, size))
            used += size
            continue
        now, size = heapq.heappop(running)
        used -= size
    return now


def checking_of(plan: Plan, rates: Rates) -> list[tuple[float, float, int]]:
    """The spot checks as tasks of `wall_time`, if all rows are ok: no lane, seconds, bytes.

    Args:
        plan: The plan.
        rates: Those of `rates_for` this plan.
    """
    tasks = []
    for weight in (plan.weights[i] for i in expected_rows(plan, {})):
        steps = steps_of(plan, weight, rates)
        # Passes over the elements: a small weight is read once, a large one twice.
        small = weight.numel <= SVD_ELEMENTS
        seconds = (1 if small else 2) * steps.get("read", 0.0) + 2 * steps.get("moments", 0.0)
        if weight.has_spectrum and small:
            seconds += weight.numel * weight.short * (rates.svd or 0.0)
        tasks.append((0.0, seconds, memory_of(weight)))
    return sorted(tasks, key=lambda task: -task[1])

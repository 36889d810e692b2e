"""Before a comparison: what it will read, compute and need (compare.plan.json)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.budget import RESERVE
from mlx_probe.analysis.compare.order import longest_first, pair_order
from mlx_probe.analysis.compare.product import product_flops
from mlx_probe.analysis.compare.scope import Scope, scope_of
from mlx_probe.analysis.compare.subspaces import subspace_flops
from mlx_probe.analysis.forecast.duration import ROW, ROW_AFTER, START, WRITING, wall_time
from mlx_probe.analysis.forecast.memory import LOADED_AT_END, Memory, most_at_once, peak_of
from mlx_probe.analysis.forecast.rates import Rates, curve_at, unpacking_of
from mlx_probe.analysis.forecast.records import StageEstimate, Step, described
from mlx_probe.analysis.opening import describe_model
from mlx_probe.analysis.stages import STAGES
from mlx_probe.checkpoint import PLAIN, Weight, chunk_extent
from mlx_probe.compute.calibration import load_calibration
from mlx_probe.compute.spectrum import METHODS, gram_flops

if TYPE_CHECKING:
    from mlx_probe.analysis.compare.pair import Pair
    from mlx_probe.analysis.compare.plan import ComparePlan
    from mlx_probe.runs.folder import RunPaths

__all__ = ["CompareForecast", "forecast_comparison"]

# Time of each step for one element, in copies of 8 bytes, measured with numpy on Linux: loading,
# the sums over both tensors, the rounding error.
LOADED, SUMMED, ROUNDED = 1.0, 8.0, 10.0

# Bytes of pyarrow, which a comparison loads when it writes its tables.
PYARROW = 27_000_000


@dataclass(frozen=True)
class CompareForecast:
    """Everything that is known of a comparison before the first weight is read.

    Times and memory are for the case that every pair differs: an identical pair is read only
    once, and has no spectrum to compute.

    Attributes:
        goal: What the comparison computes.
        models: Identifier, revision, files and architecture, by "a" and "b".
        inputs: Files that are read.
        steps: What is done, in order.
        outputs: Files that are written.
        checks: What is checked at the end.
        log: The log file.
        configuration: The configuration with every automatic choice made.
        pairs: Number of rows.
        pairs_by_match: Number of rows by `Pair.matched_by`: "name", "role", "adapter", "None".
        pairs_by_status: Number of rows by status, of those whose status is known from headers.
        spectra: Differences whose singular values are computed.
        vectors: Pairs whose leading singular vectors are computed.
        left_out: Label of a pair, and what the memory limit leaves out.
        stored_bytes: Bytes of both sides as stored, each read at least once.
        read_bytes: Bytes to read in all passes.
        memory: Peak memory, and whether it fits.
        stages: Time and arithmetic by stage.
        seconds: Wall time without opening the models; None without a calibration.
        machine: The machine of the calibration.
    """

    goal: str
    models: Mapping[str, Any]
    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    checks: tuple[str, ...]
    log: str
    configuration: Mapping[str, Any]
    pairs: int
    pairs_by_match: Mapping[str, int]
    pairs_by_status: Mapping[str, int]
    spectra: int
    vectors: int
    left_out: tuple[tuple[str, str], ...]
    stored_bytes: int
    read_bytes: int
    memory: Memory
    stages: Mapping[str, StageEstimate]
    seconds: float | None
    machine: Mapping[str, str | int]

    def describe(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return described(asdict(self), self.memory, self.memory.fits)


@dataclass(frozen=True)
class _Passes:
    """How often a pair that differs is read, and what is computed.

    Attributes:
        a: Readings of A.
        b: Readings of B, or of an adapter's factors.
        rounding: Whether the rounding error of B is computed.
        grams: Gram matrices: of the difference, of A, of B.
    """

    a: int
    b: int
    rounding: bool
    grams: int


def _passes(pair: Pair, scope: Scope) -> _Passes:
    adaption, weight = pair.adaption, pair.weight
    # A weight that is compared with itself is read once.
    if adaption is None and (pair.b is None or pair.is_shared):
        return _Passes(1, 0, False, 0)
    lowrank = adaption is not None and adaption.is_product
    rounding = scope.spectrum and adaption is None
    grams = int(scope.spectrum and not lowrank) + 2 * int(scope.vectors)
    if adaption is None and weight.long <= chunk_extent(weight.short):
        return _Passes(1, 1, rounding, grams)
    # The sums; the Gram matrices; products with leading directions, and the rounding error.
    readings = 1 + (grams > 0) + (scope.vectors or rounding)
    if adaption is None:
        return _Passes(readings, readings, rounding, grams)
    if adaption.takes_whole(weight):
        return _Passes(1, 1, False, grams)
    # DoRA's norms may need a pass of their own, and what is taken out of the base two.
    again = readings * any(update.dora for update in adaption.updates)
    first = 2 * any(update.removed is not None for update in adaption.updates)
    return _Passes(readings + again + first, 1, False, grams)


def forecast_comparison(plan: ComparePlan, paths: RunPaths, rates: Rates | None) -> CompareForecast:
    """The forecast for a plan.

    Args:
        plan: The plan.
        paths: Where its results go.
        rates: Times of the steps on this machine; None leaves the times out.
    """
    known = [i for i, pair in enumerate(plan.pairs) if pair.status is None]
    flops: defaultdict[str, float] = defaultdict(float)
    read = 0
    for i in known:
        read += _read_bytes(plan.pairs[i], plan.scopes[i])
        for stage, count in _flops(plan, i).items():
            flops[stage] += count
    seconds, stages = _times(plan, rates) if rates and _complete(plan, rates) else (None, {})
    scopes = [plan.scopes[i] for i in known]
    return CompareForecast(
        goal=f"{len(plan.pairs)} pairs, {sum(s.spectrum for s in scopes)} spectra of differences",
        models={"a": describe_model(plan.a), "b": describe_model(plan.b)},
        inputs=tuple(str(path) for side in (plan.a, plan.b) for path in side.files.weights),
        steps=_steps(plan),
        outputs=tuple(
            str(path) for path in (*map(paths.table, paths.formats), paths.plan, paths.meta)
        ),
        checks=("rows, columns, types, ranges, ranks", "both models' files are unchanged"),
        log=str(paths.log),
        configuration=asdict(plan.config),
        pairs=len(plan.pairs),
        pairs_by_match=dict(Counter(str(pair.matched_by) for pair in plan.pairs)),
        pairs_by_status=dict(Counter(pair.status for pair in plan.pairs if pair.status)),
        spectra=sum(scope.spectrum for scope in scopes),
        vectors=sum(scope.vectors for scope in scopes),
        left_out=tuple(
            (plan.pairs[i].weight.label, reason)
            for i in known
            if (reason := plan.scopes[i].reason) is not None
        ),
        stored_bytes=sum(plan.sizes[i] for i in known),
        read_bytes=read,
        memory=_memory(plan, known),
        stages={
            name: StageEstimate(stages.get(name), flops.get(name, 0.0))
            for name in sorted({*flops, *stages, "read", "change"})
        },
        seconds=seconds,
        machine=load_calibration().machine,
    )


def _read_bytes(pair: Pair, scope: Scope) -> int:
    passes = _passes(pair, scope)
    return sum(weight.nbytes * count for weight, count in _readings(pair, passes))


def _readings(pair: Pair, passes: _Passes) -> list[tuple[Weight, int]]:
    """The weights of a pair, and how often each is read."""
    assert pair.a is not None
    if pair.adaption is not None:
        return [(pair.a, passes.a), *((piece, passes.b) for piece in pair.adaption.pieces)]
    return [(pair.a, passes.a), *([(pair.b, passes.b)] if pair.b is not None else [])]


def _flops(plan: ComparePlan, index: int) -> dict[str, float]:
    """Floating-point operations by stage, as the cost account counts them."""
    pair, scope = plan.pairs[index], plan.scopes[index]
    weight, passes = pair.weight, _passes(pair, scope)
    short, long = weight.short, weight.long
    flops = {}
    if pair.adaption is not None and pair.adaption.is_product:
        rank = pair.adaption.rank or 0
        flops["direct"] = product_flops(*weight.extents, rank)
        flops["change"] = 2.0 * weight.numel * rank
    if passes.grams:
        flops["gram"] = passes.grams * gram_flops(weight.numel, short)
    if passes.grams % 2:
        method = METHODS["gram_f64"]
        flops[method.stage] = method.flops(float(short), float(long))
    if passes.grams > 1:
        leading = max(plan.config.directions, plan.config.intruder_directions)
        flops["vectors"] = subspace_flops(weight.numel, short, leading)
    return flops


def _complete(plan: ComparePlan, rates: Rates) -> bool:
    """Whether the rates cover the unpacking of all packed weights, products and solvers."""
    packed = [
        weight
        for pair in plan.pairs
        for weight in (pair.a, pair.b)
        if pair.status is None and weight is not None and weight.parameter.packing != PLAIN
    ]
    known = all(unpacking_of(weight) in rates.unpack for weight in packed)
    return known and bool(rates.gram) and bool(rates.solve)


def _times(plan: ComparePlan, rates: Rates) -> tuple[float, dict[str, float]]:
    """Seconds of wall time, and of all workers together by stage."""
    stages: Counter[str] = Counter()
    tasks = []
    for task, size in pair_order(plan, ()):
        streamed = rest = 0.0
        for index in chain(*task):
            steps = _seconds(plan, index, rates)
            stages.update(steps)
            in_lane = sum(s for stage, s in steps.items() if STAGES[stage].in_lane)
            streamed, rest = streamed + in_lane, rest + sum(steps.values()) - in_lane
        tasks.append((streamed, rest, size))
    workers, rows = plan.config.workers, len(plan.pairs)
    wall = wall_time(tasks, workers, plan.backend.lanes or workers, plan.budget)
    return START + wall + ROW * rows + WRITING + ROW_AFTER * rows, dict(stages)


def _seconds(plan: ComparePlan, index: int, rates: Rates) -> dict[str, float]:
    """Seconds of a pair in each stage."""
    pair, scope = plan.pairs[index], plan.scopes[index]
    if pair.status is not None:
        return {}
    passes, numel, short = _passes(pair, scope), pair.weight.numel, pair.weight.short
    # Seconds to copy one float64.
    copy = 8 * rates.copy
    seconds = {
        "read": sum(
            count * (_unpacking(weight, rates) + LOADED * copy * weight.numel)
            for weight, count in _readings(pair, passes)
        ),
        "change": copy * numel * (SUMMED + ROUNDED * passes.rounding),
    }
    per_flop = curve_at(rates.gram, short, (1.0, 1.0)) / short
    solving = curve_at(rates.solve, short, (2.7, 3.3))
    for stage, flops in _flops(plan, index).items():
        if stage == METHODS["gram_f64"].stage:
            seconds[stage] = solving
        elif stage == "vectors":
            # The reductions are as slow as that of a solver without vectors.
            reductions = 2 * METHODS["gram_f64"].flops(float(short), float(short))
            seconds[stage] = 2 * solving + (flops - reductions) * per_flop
        else:
            seconds[stage] = seconds.get(stage, 0.0) + flops * per_flop
    return seconds


def _unpacking(weight: Weight, rates: Rates) -> float:
    each = rates.unpack.get(unpacking_of(weight), rates.copy * weight.nbytes / weight.numel)
    return (rates.opening or 0.0) + weight.numel * each


def _memory(plan: ComparePlan, known: list[int]) -> Memory:
    """Peak memory of what the scopes allow."""
    taken = plan.config.memory_limit - plan.budget
    process, workers = taken - RESERVE, plan.config.workers
    sizes = [plan.scopes[i].nbytes for i in longest_first(plan)]
    in_flight = most_at_once([(size, size) for size in sizes], workers, workers, plan.budget)
    # The least that a limit must hold: the chunks, without a spectrum.
    least = {i: scope_of(plan.pairs[i], plan.config, 0, plan.backend).nbytes for i in known}
    largest = max(least, key=lambda i: least[i], default=0)
    return Memory(
        process=process,
        in_flight=in_flight,
        peak=peak_of(
            process, in_flight, sizes[:1], len(plan.pairs), loaded=0, at_end=PYARROW + LOADED_AT_END
        ),
        least=taken + least.get(largest, 0),
        limit=plan.config.memory_limit,
        largest=plan.pairs[largest].weight.label,
    )


def _steps(plan: ComparePlan) -> tuple[Step, ...]:
    steps = [
        Step(
            f"map both models' files, {plan.config.workers} pair(s) in flight",
            "a damaged file is named, and nothing is computed",
        ),
        Step(
            "stream each pair side by side: change, cosine, norms",
            "a pair that cannot be read keeps its row, with the reason",
        ),
        Step(
            "singular values of each difference from its Gram matrix",
            "float64 QR and SVD where the error bound is too wide; left out where the memory "
            "limit cannot hold it, with the reason",
        ),
    ]
    if plan.config.directions:
        steps.append(
            Step(
                "leading singular vectors of both sides: overlap and intruders",
                "left out where the memory limit cannot hold them, with the reason",
            )
        )
    return (
        *steps,
        Step(
            "write each row to a journal as it is done",
            "after an interruption the same command goes on from there",
        ),
        Step("write the tables and run_meta.json", "the journal stays until they are whole"),
    )

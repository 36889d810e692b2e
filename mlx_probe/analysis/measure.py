"""Measuring a weight: its elements are streamed once through all passes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.loading import Loaded, loaded_chunks
from mlx_probe.analysis.working_set import is_sketched
from mlx_probe.checkpoint import PLAIN, Weight
from mlx_probe.compute import lapack
from mlx_probe.compute.backends import Gram
from mlx_probe.compute.backends.protocol import (
    ElementPass,
    GramPass,
    OperatorPass,
    QuantizationPass,
)
from mlx_probe.compute.backends.quantization import GROUP_SIZE, QUANTIZED_BITS
from mlx_probe.compute.spectrum import (
    METHODS,
    MatrixReader,
    count_rank,
    flops_of,
    gram_flops,
    singular_values,
    sketch_spectrum,
    zero_spectrum,
)
from mlx_probe.core.errors import PackingError, SpectrumError
from mlx_probe.core.records import Moments, RankCount, Sketch, Spectrum, Status
from mlx_probe.metrics import Measurement
from mlx_probe.runs.monitor import UsageMeter

if TYPE_CHECKING:
    from mlx_probe.analysis.plan import Plan

__all__ = ["Measurer", "Outcome", "unmeasured"]


@dataclass(frozen=True)
class Outcome:
    """The result of one weight.

    Attributes:
        status: As in the table.
        reason: Why the status is not ok.
        measurement: The numbers; None if there are none.
        read_seconds: Time to bring the elements into the backend.
        seconds: Time in all.
    """

    status: Status
    reason: str | None
    measurement: Measurement | None = None
    read_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def sigma(self) -> NDArray[np.float64] | None:
        """All singular values, or the leading ones of an approximate method.

        None if there are none, or if the largest is beyond float64's range.
        """
        spectrum = self.measurement.spectrum if self.measurement else None
        if isinstance(spectrum, Sketch):
            return spectrum.leading
        return _absolute(spectrum) if isinstance(spectrum, Spectrum) else None


def _absolute(spectrum: Spectrum) -> NDArray[np.float64] | None:
    """Singular values in the weight's units; None if the largest is beyond float64's range."""
    if not spectrum.exponent:
        return spectrum.values
    with np.errstate(over="ignore"):
        values = np.ldexp(spectrum.values, spectrum.exponent)
    return values if values[0] < np.inf else None


def unmeasured(weight: Weight) -> Outcome | None:
    """The outcome of a weight that has nothing to measure, by its header; None for others."""
    if weight.problem is not None:
        return Outcome("skipped", weight.problem)
    if weight.numel == 0:
        return Outcome("empty", "the tensor has no elements")
    if not weight.shape:
        return Outcome("scalar", "the tensor is 0-D: one number has no distribution")
    return None


class _Pass(Protocol):
    def add(self, chunk: Any) -> None: ...


@dataclass
class _Kept:
    """Chunks for a batch."""

    chunks: list[Any] = field(default_factory=list)

    def add(self, chunk: Any) -> None:
        self.chunks.append(chunk)


@dataclass
class _Passes:
    """The passes that take the chunks of one weight, by stage of the cost account."""

    elements: ElementPass
    gram: GramPass | None = None
    operator: OperatorPass | None = None
    rounding: QuantizationPass | None = None

    def by_stage(self) -> list[tuple[str, _Pass]]:
        stages = {
            "moments": (self.elements, self.rounding),
            "gram": (self.gram,),
            "sketch": (self.operator,),
        }
        return [(stage, each) for stage, passes in stages.items() for each in passes if each]


class Measurer:
    """Measures weights; any number of threads may use it at once.

    Elements go through the backend's lanes, factorizations do not: while one worker solves, a
    GPU makes the next worker's Gram matrix.

    Args:
        plan: The plan.
        meter: Counts the cost of the stages.
    """

    def __init__(self, plan: Plan, meter: UsageMeter) -> None:
        self._plan, self._meter = plan, meter
        self._backend, self._config = plan.backend, plan.config
        self._lane = BoundedSemaphore(plan.backend.lanes or plan.config.workers)

    def measure(self, weights: Sequence[Weight]) -> list[Outcome]:
        """Measure one weight, or a batch of equal ones (`work_order`).

        Args:
            weights: The weights.

        Raises:
            CheckpointError: A file changed or vanished while it was read.
            Stopped: The monitor's gate is closed for good.
        """
        if len(weights) > 1:
            try:
                return self._measure_batch(weights)
            except PackingError:
                pass  # measure one by one to find the bad tensor
        return [self._measure_alone(weight) for weight in weights]

    def _measure_alone(self, weight: Weight) -> Outcome:
        if (outcome := unmeasured(weight)) is not None:
            return outcome
        with self._meter.timed() as whole:
            outcome = self._measure_elements(weight)
        return replace(outcome, seconds=whole.seconds)

    def _measure_elements(self, weight: Weight) -> Outcome:
        passes = self._passes(weight)
        if is_sketched(weight, self._config):
            passes.operator = self._backend.operator_pass(*weight.extents, weight.chunk_dtype)
        elif weight.has_spectrum:
            passes.gram = self._backend.gram_pass(*weight.extents, weight.chunk_dtype)
        try:
            with self._lane:
                read = self._stream(weight, passes.by_stage())
        except PackingError as error:
            return Outcome("skipped", error.fact)
        # Outside the lane: here a device finishes what it has queued.
        gram = self._finished(passes.gram) if passes.gram else None
        return replace(self._conclude(weight, passes, gram), read_seconds=read)

    def _measure_batch(self, weights: Sequence[Weight]) -> list[Outcome]:
        """Measure equal small matrices, whose Gram matrices are made at once."""
        first = weights[0]
        kept, passes, reads = _Kept(), [self._passes(weight) for weight in weights], []
        with self._meter.timed() as together, self._lane:
            for weight, each in zip(weights, passes, strict=True):
                reads.append(self._stream(weight, [*each.by_stage(), ("gram", kept)]))
            with self._meter.stage("gram"):
                grams = self._backend.gram_batch(kept.chunks, *first.extents, first.chunk_dtype)
        share = (together.seconds - sum(reads)) / len(weights)
        outcomes = []
        for weight, each, gram, read in zip(weights, passes, grams, reads, strict=True):
            with self._meter.timed() as alone:
                outcome = self._conclude(weight, each, gram)
            seconds = read + share + alone.seconds
            outcomes.append(replace(outcome, read_seconds=read, seconds=seconds))
        return outcomes

    def _passes(self, weight: Weight) -> _Passes:
        dtype = weight.chunk_dtype
        passes = _Passes(self._backend.element_pass(dtype, self._config.zero_epsilon))
        if weight.has_spectrum and self._config.metrics == "full":
            rows, cols = weight.extents
            packed = weight.parameter.packing != PLAIN
            bits = () if packed or cols % GROUP_SIZE else QUANTIZED_BITS
            passes.rounding = self._backend.quantization_pass(rows, cols, dtype, bits)
        return passes

    def _stream(self, weight: Weight, passes: Sequence[tuple[str, _Pass]]) -> float:
        """Send all chunks through all passes; return the seconds of reading."""
        seconds, left = 0.0, weight.numel
        chunks = loaded_chunks(weight, self._backend)
        while left:
            self._meter.gate.wait()
            with self._meter.stage("read") as reading:
                loaded = next(chunks)
                reading.nbytes = weight.nbytes * loaded.size // weight.numel
            seconds += reading.seconds
            self._pass_on(weight, loaded, passes)
            left -= loaded.size
            # Otherwise this chunk would stay in memory while the next one is unpacked.
            del loaded
        # The end of the iteration gives back the pages of the last chunk.
        next(chunks, None)
        return seconds

    def _pass_on(self, weight: Weight, loaded: Loaded, passes: Sequence[tuple[str, _Pass]]) -> None:
        """Send a chunk through all passes: part by part if it becomes a Gram matrix."""
        parts: Iterable[Any] = (loaded.chunk,)
        if any(stage == "gram" and not isinstance(each, _Kept) for stage, each in passes):
            parts = self._backend.parts(loaded.chunk, *weight.extents)
        for part in parts:
            for stage, each in passes:
                with self._meter.stage(stage, loaded.nbytes * part.size // loaded.size) as passing:
                    each.add(part)
                    if stage == "gram":
                        passing.flops = gram_flops(part.size, weight.short)
                        # On the CPU no other worker can use these cores.
                        passing.cores = 1 if self._backend.lanes else lapack.width()

    def _finished(self, gram: GramPass) -> Gram:
        with self._meter.stage("gram"):
            return gram.finish()

    def _conclude(self, weight: Weight, passes: _Passes, gram: Gram | None) -> Outcome:
        """The numbers that follow from what the passes hold."""
        with self._meter.stage("moments"):
            moments = passes.elements.finish()
        rank_tol = self._config.rank_tol
        if moments.nan_count or moments.inf_count:
            counts = f"{moments.nan_count} NaN and {moments.inf_count} Inf"
            counts += f" in {moments.count} elements"
            return Outcome("nonfinite", counts, Measurement(moments, rank_tol))
        status: Status = "ok"
        reason: str | None = None
        spectrum: Spectrum | RankCount | Sketch | None = None
        try:
            if gram is not None:
                spectrum = self._exact(weight, moments, gram)
            elif passes.operator is not None:
                spectrum = self._sketch(weight, moments, passes.operator)
        except SpectrumError as error:
            status, reason = "failed", error.fact
        rounding = None if passes.rounding is None else passes.rounding.finish()
        measurement = Measurement(moments, rank_tol, spectrum, rounding, self._config.seed)
        return Outcome(status, reason, measurement)

    def _exact(self, weight: Weight, moments: Moments, gram: Gram) -> Spectrum | RankCount:
        (rows, cols), dtype = weight.extents, weight.chunk_dtype
        rank_tol = self._config.rank_tol

        def precise() -> Gram:
            again = self._backend.gram_pass(rows, cols, dtype, precise=True)
            # Its stages are not part of this one, and neither is waiting for the lane.
            with self._meter.timed(), self._lane:
                self._stream(weight, [("gram", again)])
            return self._finished(again)

        reader = MatrixReader(rows, cols, dtype, moments, weight.chunks, precise)
        spectrum: Spectrum | RankCount | None = None
        with self._meter.stage("solve") as solving:
            if self._config.metrics == "basic":
                spectrum = count_rank(gram, rows, cols, rank_tol)
            if spectrum is None:
                spectrum = singular_values(gram, reader, rank_tol, self._plan.solvers)
            solving.flops = flops_of(spectrum)
            solving.stage = METHODS[spectrum.method].stage
        return spectrum

    def _sketch(
        self, weight: Weight, moments: Moments, operator: OperatorPass
    ) -> Spectrum | Sketch:
        rows, cols = weight.extents
        if moments.min == moments.max == 0:
            return zero_spectrum(rows, cols)
        with self._lane, self._meter.stage("sketch") as sketching:
            sketch = sketch_spectrum(operator.apply, moments, rows, cols, self._config.seed)
            sketching.flops = flops_of(sketch)
            sketching.stage = METHODS[sketch.method].stage
        return sketch

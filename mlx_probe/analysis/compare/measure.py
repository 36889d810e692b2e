"""Measuring a pair: how far apart the two are, and what the difference looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from threading import BoundedSemaphore
from typing import Any

from mlx_probe.analysis.compare.adapted import adapted_reader
from mlx_probe.analysis.compare.blocks import WeightReader
from mlx_probe.analysis.compare.change import (
    UNSAFE,
    change_by_product,
    change_columns,
    change_moments,
)
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.difference_columns import DELTA
from mlx_probe.analysis.compare.pair import Pair
from mlx_probe.analysis.compare.passes import PairPasses
from mlx_probe.analysis.compare.product import product_flops, product_spectrum
from mlx_probe.analysis.compare.removed import NonfiniteError
from mlx_probe.analysis.compare.rounding import RoundingEdge
from mlx_probe.analysis.compare.scope import Scope, is_matrix
from mlx_probe.analysis.compare.source import BlockSource, Replay, WeightSource
from mlx_probe.analysis.compare.subspaces import (
    Floats,
    Leading,
    compare_subspaces,
    leading_directions,
    reduction_flops,
)
from mlx_probe.checkpoint import Weight
from mlx_probe.checkpoint.adapters.protocol import Product
from mlx_probe.compute.backends import Backend
from mlx_probe.compute.backends.change import ChangeSums
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.backends.protocol import PairGrams
from mlx_probe.compute.solver_crossover import EigenSolvers
from mlx_probe.compute.spectrum import (
    METHODS,
    count_above,
    flops_of,
    singular_values,
    zero_spectrum,
)
from mlx_probe.core.errors import PackingError, SpectrumError
from mlx_probe.core.machine import usable_cores
from mlx_probe.core.records import Moments, Spectrum
from mlx_probe.core.scaling import times_power_of_two
from mlx_probe.metrics import Measurement
from mlx_probe.runs.monitor import UsageMeter

__all__ = ["PairMeasurer"]

_HOST = NumpyBackend()


class PairMeasurer:
    """Measures pairs; any number of threads may use it at once.

    Elements go through the backend's lanes, factorizations do not. What an adapter makes of a
    weight is computed in float64 on the host.

    Args:
        config: What to compute.
        meter: Counts what each stage takes; its gate is passed before every slab.
        backend: Where elements of two weights are worked on.
        solvers: As for `singular_values`.
    """

    def __init__(
        self,
        config: CompareConfig,
        meter: UsageMeter,
        backend: Backend,
        solvers: EigenSolvers | None = None,
    ) -> None:
        self._config, self._meter, self._backend = config, meter, backend
        self._solvers = solvers
        lane = BoundedSemaphore(backend.lanes or config.workers or usable_cores())
        self._passes = PairPasses(meter, lane)

    def measure(self, pair: Pair, scope: Scope) -> dict[str, Any]:
        """The measured columns of a pair; of one whose status is known, that status.

        Args:
            pair: The pair.
            scope: How much of it.

        Raises:
            CheckpointError: A file changed or vanished while it was read.
            Stopped: The gate is closed for good.
        """
        if pair.status is not None:
            return {"status": pair.status, "status_reason": pair.reason}
        with self._meter.timed() as whole_pair:
            values = _outcome(lambda: self._measured(pair, scope))
        return {**values, "compute_seconds": whole_pair.seconds}

    def measure_batch(self, pairs: Sequence[tuple[Pair, Scope]]) -> list[dict[str, Any]]:
        """The same of equal small matrices, whose Gram matrices are made at once.

        Args:
            pairs: Pairs of weights without a status, each with its scope; see `pair_order`.

        Raises:
            CheckpointError: A file changed or vanished while it was read.
            Stopped: The gate is closed for good.
        """
        try:
            return self._measured_together(pairs)
        except PackingError:
            # Measured one by one to find the bad tensor.
            return [self.measure(pair, scope) for pair, scope in pairs]

    def _measured(self, pair: Pair, scope: Scope) -> dict[str, Any]:
        if pair.adaption is None:
            with closing(Replay(self._weights(pair))) as both:
                return self._concluded(pair, scope, both, self._passes.change(both))
        adapted = adapted_reader(pair, self._meter)
        weight = pair.weight
        extents = (weight.long, weight.short)
        with closing(Replay(BlockSource(adapted, extents, _HOST))) as both:
            product = adapted.edit if pair.adaption.is_product else None
            if not isinstance(product, Product):
                return self._concluded(pair, scope, both, self._passes.change(both))
            if not product.is_finite:
                return _nonfinite("the adapter's factors overflow")
            # Where it fails there are no numbers: it knows of overflows in the product.
            flops = product_flops(*weight.extents, product.left.shape[1])
            with self._meter.stage("direct", flops=flops):
                spectrum = product_spectrum(product)
            change = change_by_product(adapted, self._meter)
            return self._concluded(pair, scope, both, change, spectrum)

    def _measured_together(self, pairs: Sequence[tuple[Pair, Scope]]) -> list[dict[str, Any]]:
        opened = [Replay(self._weights(pair)) for pair, _ in pairs]
        with self._meter.timed() as together:
            changes = [self._passes.change(both) for both in opened]
            due = [
                i
                for i, change in enumerate(changes)
                if change.changed and not (change.nonfinite_a or change.nonfinite_b)
            ]
            grams: dict[int, PairGrams] = {}
            if due and (scope := pairs[0][1]).spectrum:
                made = self._passes.gram_batch([opened[i] for i in due], scope.vectors)
                grams = dict(zip(due, made, strict=True))
        share, rows = together.seconds / len(pairs), []
        for i, ((pair, scope), both, change) in enumerate(zip(pairs, opened, changes, strict=True)):
            with self._meter.timed() as alone, closing(both):
                conclude = partial(self._concluded, pair, scope, both, change, None, grams.get(i))
                values = _outcome(conclude)
            rows.append({**values, "compute_seconds": share + alone.seconds})
        return rows

    def _weights(self, pair: Pair) -> WeightSource:
        """Where the chunks of two weights come from; one of them if both are the same bytes."""
        assert pair.a is not None
        a = WeightReader(pair.a, pair.interleaved_a, self._meter)
        if pair.b is None or pair.is_shared:
            return WeightSource(a, a, self._backend)
        return WeightSource(a, WeightReader(pair.b, pair.interleaved_b, self._meter), self._backend)

    def _concluded(
        self,
        pair: Pair,
        scope: Scope,
        both: Replay,
        change: ChangeSums,
        spectrum: Spectrum | None = None,
        grams: PairGrams | None = None,
    ) -> dict[str, Any]:
        """The columns that follow from the sums, and what is computed only of a change."""
        if change.nonfinite_a or change.nonfinite_b:
            counts = f"{change.nonfinite_a} NaN or Inf in A, {change.nonfinite_b} in B"
            return _nonfinite(f"{counts}, of {change.count} elements")
        identical = not change.changed
        values = change_columns(change)
        values |= {"status": "identical" if identical else "ok", "status_reason": None}
        if not is_matrix(pair):
            return values
        if identical:
            return values | self._of_identical(pair, change)
        values["missing_reason"] = values["missing_reason"] or scope.reason
        try:
            for columns in self._of_difference(pair, scope, both, change, spectrum, grams):
                values |= columns
        except SpectrumError as error:
            # What came before the failure stays.
            values |= {"status": "failed", "status_reason": error.fact}
        return values

    def _of_identical(self, pair: Pair, change: ChangeSums) -> dict[str, Any]:
        """The difference's columns where it is 0, and the overlap of a matrix with itself."""
        zero = zero_spectrum(*pair.weight.extents)
        values = _delta(Measurement(change_moments(change), self._config.rank_tol, zero))
        values["delta_rank_above_rounding"] = None if pair.b is None or pair.adaption else 0
        short, directions = pair.weight.short, self._config.directions
        if change.a and directions:
            values |= {
                "overlap_directions": min(directions, short),
                "left_overlap": 1.0,
                "right_overlap": 1.0,
                "intruder_count": 0,
                "right_intruder_count": 0,
                "intruder_directions": min(self._config.intruder_directions, short),
            }
        return values

    def _of_difference(
        self,
        pair: Pair,
        scope: Scope,
        both: Replay,
        change: ChangeSums,
        spectrum: Spectrum | None,
        grams: PairGrams | None,
    ) -> Iterator[dict[str, Any]]:
        """The difference's columns, then the subspaces', as far as the scope allows."""
        is_dense = scope.spectrum and spectrum is None
        # The size of rounding errors depends on the number format of B's values.
        format_of_b, rounding = None, None
        if is_dense and pair.b is not None and pair.adaption is None:
            format_of_b = self._backend.element_pass(both.source.dtypes[1], 0.0)
        if grams is not None:
            self._passes.elements(both, format_of_b)
        elif is_dense or scope.vectors:
            grams = self._passes.grams(both, is_dense, scope.vectors, format_of_b)
        if format_of_b is not None:
            with self._meter.stage("change"):
                rounding = RoundingEdge(format_of_b.finish(), *both.source.extents)
        moments = change_moments(change)
        if is_dense:
            assert grams is not None
            spectrum = self._spectrum(both, moments, grams)
        if spectrum is not None and scope.spectrum:
            yield _delta(Measurement(moments, self._config.rank_tol, spectrum))
        leading = None
        if scope.vectors:
            assert grams is not None
            leading = self._leading(grams)
        cross = self._passes.along(both, leading, rounding)
        if rounding is not None:
            assert spectrum is not None
            edge = times_power_of_two(rounding.edge(), -spectrum.exponent)
            yield {"delta_rank_above_rounding": count_above(spectrum.values, edge)}
        if scope.vectors:
            assert grams is not None
            yield self._subspaces(pair.weight, grams, leading, cross)

    def _spectrum(self, both: Replay, moments: Moments, grams: PairGrams) -> Spectrum:
        """Singular values of the difference, certified as those of a weight are."""
        assert grams.difference is not None
        reader = self._passes.reader(both, moments)
        with self._meter.stage("solve") as solving:
            spectrum = singular_values(
                grams.difference, reader, self._config.rank_tol, self._solvers
            )
            solving.flops = flops_of(spectrum)
            solving.stage = METHODS[spectrum.method].stage
        return spectrum

    def _leading(self, grams: PairGrams) -> Leading | None:
        assert grams.b is not None
        most = max(self._config.directions, self._config.intruder_directions)
        with self._meter.stage("vectors") as solving:
            leading = leading_directions(grams.b, most)
            solving.flops = reduction_flops(len(grams.b.matrix), most)
        return leading

    def _subspaces(
        self, weight: Weight, grams: PairGrams, leading: Leading | None, cross: Floats | None
    ) -> dict[str, Any]:
        config, subspaces = self._config, None
        if leading is not None and cross is not None:
            assert grams.a is not None
            flops = reduction_flops(weight.short, len(leading.sigma))
            with self._meter.stage("vectors", flops=flops):
                subspaces = compare_subspaces(
                    grams.a,
                    leading,
                    cross,
                    config.directions,
                    config.intruder_directions,
                    config.intruder_epsilon,
                )
        if subspaces is None:
            return {"missing_reason": f"one of the matrices is 0, or {UNSAFE}"}
        short_side = subspaces.short_overlap, subspaces.short_intruders
        long_side = subspaces.long_overlap, subspaces.long_intruders
        # The right singular vectors of a tall matrix have the length of its short side.
        left, right = (long_side, short_side) if weight.tall else (short_side, long_side)
        return {
            "overlap_directions": subspaces.directions,
            "left_overlap": left[0],
            "right_overlap": right[0],
            "intruder_count": left[1],
            "right_intruder_count": right[1],
            "intruder_directions": subspaces.searched,
        }


def _outcome(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The columns, or the status and its reason of what has none."""
    try:
        return work()
    except NonfiniteError as error:
        return _nonfinite(error.fact)
    except SpectrumError as error:
        return {"status": "failed", "status_reason": error.fact}
    except PackingError as error:
        return {"status": "skipped", "status_reason": error.fact}


def _nonfinite(reason: str) -> dict[str, Any]:
    return {"status": "nonfinite", "status_reason": reason}


def _delta(measurement: Measurement) -> dict[str, Any]:
    return {f"delta_{metric.name}": metric.compute(measurement) for metric in DELTA}

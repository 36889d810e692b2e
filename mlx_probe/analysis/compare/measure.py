"""Measuring a pair: how far apart the two are, and what the difference looks like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlx_probe.analysis.compare.adapted import Adapted
from mlx_probe.analysis.compare.blocks import Floats, PairReader, TwoWeights, WeightReader
from mlx_probe.analysis.compare.change import UNSAFE, Change, change_by_product, change_of
from mlx_probe.analysis.compare.columns import DELTA
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.pair import Pair
from mlx_probe.analysis.compare.product import product_flops, product_spectrum
from mlx_probe.analysis.compare.removed import NonfiniteError
from mlx_probe.analysis.compare.rounding import rounding_edge
from mlx_probe.analysis.compare.scope import Scope, is_matrix
from mlx_probe.analysis.compare.subspaces import compare_subspaces, subspace_flops
from mlx_probe.checkpoint import Weight
from mlx_probe.checkpoint.adapters.protocol import Product
from mlx_probe.compute import lapack
from mlx_probe.compute.backends import Gram
from mlx_probe.compute.solver_crossover import EigenSolvers
from mlx_probe.compute.spectrum import (
    METHODS,
    MatrixReader,
    count_above,
    flops_of,
    gram_flops,
    singular_values,
    zero_spectrum,
)
from mlx_probe.core.errors import PackingError, SpectrumError
from mlx_probe.core.records import Moments, Spectrum
from mlx_probe.core.scaling import times_power_of_two
from mlx_probe.metrics import Measurement
from mlx_probe.runs.monitor import UsageMeter

__all__ = ["PairMeasurer", "pair_reader"]


class PairMeasurer:
    """Measures pairs; any number of threads may use it at once.

    Args:
        config: What to compute.
        meter: Counts what each stage takes; its gate is passed before every slab.
        solvers: As for `singular_values`.
    """

    def __init__(
        self, config: CompareConfig, meter: UsageMeter, solvers: EigenSolvers | None = None
    ) -> None:
        self._config, self._meter, self._solvers = config, meter, solvers

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
            try:
                values = self._measured(pair, scope)
            except NonfiniteError as error:
                values = _nonfinite(error.fact)
            except SpectrumError as error:
                values = {"status": "failed", "status_reason": error.fact}
            except PackingError as error:
                values = {"status": "skipped", "status_reason": error.fact}
        return {**values, "compute_seconds": whole_pair.seconds}

    def _measured(self, pair: Pair, scope: Scope) -> dict[str, Any]:
        both = pair_reader(pair, self._meter)
        spectrum = None
        if (product := _plain_product(pair, both)) is not None:
            if not product.is_finite:
                return _nonfinite("the adapter's factors overflow")
            # Where it fails there are no numbers: it knows of overflows in the product.
            flops = product_flops(*pair.weight.extents, product.left.shape[1])
            with self._meter.stage("direct", flops=flops):
                spectrum = product_spectrum(product)
            assert isinstance(both, Adapted)
            change = change_by_product(both, self._meter)
        else:
            change = change_of(both, self._meter)
        if change.nonfinite_a or change.nonfinite_b:
            counts = f"{change.nonfinite_a} NaN or Inf in A, {change.nonfinite_b} in B"
            return _nonfinite(f"{counts}, of {change.count} elements")
        identical = not change.changed
        values = change.columns()
        values |= {"status": "identical" if identical else "ok", "status_reason": None}
        if not is_matrix(pair):
            return values
        if identical:
            return values | self._of_identical(pair, change)
        values["missing_reason"] = values["missing_reason"] or scope.reason
        try:
            for columns in self._of_difference(pair, scope, both, change, spectrum):
                values |= columns
        except SpectrumError as error:
            # What came before the failure stays.
            values |= {"status": "failed", "status_reason": error.fact}
        return values

    def _of_identical(self, pair: Pair, change: Change) -> dict[str, Any]:
        """The difference's columns where it is 0, and the overlap of a matrix with itself."""
        zero = zero_spectrum(*pair.weight.extents)
        values = _delta(Measurement(change.moments(), self._config.rank_tol, zero))
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
        self, pair: Pair, scope: Scope, both: PairReader, change: Change, spectrum: Spectrum | None
    ) -> Iterator[dict[str, Any]]:
        """The difference's columns, then the subspaces', as far as the scope allows."""
        if scope.spectrum:
            moments = change.moments()
            spectrum = spectrum or self._spectrum(pair.weight, both, moments)
            yield _delta(Measurement(moments, self._config.rank_tol, spectrum))
            if pair.b is not None and pair.adaption is None:
                with self._meter.stage("change"):
                    edge = rounding_edge(WeightReader(pair.b, 0, self._meter))
                edge = times_power_of_two(edge, -spectrum.exponent)
                yield {"delta_rank_above_rounding": count_above(spectrum.values, edge)}
        if scope.vectors:
            yield self._subspaces(pair.weight, both)

    def _spectrum(self, weight: Weight, both: PairReader, moments: Moments) -> Spectrum:
        """Singular values of the difference, certified as those of a weight are."""
        (rows, cols), short = weight.extents, weight.short
        matrix = np.zeros((short, short))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for x, y in both.blocks():
                with self._meter.stage("gram", x.nbytes + y.nbytes) as multiplying:
                    difference = y - x
                    if difference.any():
                        lapack.add_gram(matrix, difference)
                        multiplying.flops = gram_flops(x.size, short)

        def slabs() -> Iterator[Floats]:
            for x, y in both.blocks():
                difference = y - x
                yield difference if rows >= cols else difference.T

        gram = Gram(matrix, omitted=0.0)
        # Nothing was left out: there is no Gram matrix more precise than this.
        reader = MatrixReader(rows, cols, "F64", moments, slabs, lambda: gram)
        with self._meter.stage("solve") as solving:
            spectrum = singular_values(gram, reader, self._config.rank_tol, self._solvers)
            solving.flops = flops_of(spectrum)
            solving.stage = METHODS[spectrum.method].stage
        return spectrum

    def _subspaces(self, weight: Weight, both: PairReader) -> dict[str, Any]:
        config = self._config
        leading = max(config.directions, config.intruder_directions)
        flops = subspace_flops(weight.numel, weight.short, leading)
        with self._meter.stage("vectors", flops=flops):
            subspaces = compare_subspaces(
                both,
                weight.short,
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


def pair_reader(pair: Pair, meter: UsageMeter) -> PairReader:
    """Reads the two sides of a pair, block by block.

    Args:
        pair: A pair without a status.
        meter: Counts what is read.

    Raises:
        CheckpointError: A file is closed, gone or changed.
        PackingError: An adapter's tensors do not make a change of this weight.
        SpectrumError: What an adapter takes out of the base cannot be computed.
    """
    assert pair.a is not None
    a = WeightReader(pair.a, pair.interleaved_a, meter)
    if pair.adaption is not None:
        replaced = pair.adaption.replaced
        start = a if replaced is None else WeightReader(replaced, 0, meter)
        return Adapted(a, start, pair.adaption.read(start, meter))
    return TwoWeights(a, a if pair.b is None else WeightReader(pair.b, pair.interleaved_b, meter))


def _plain_product(pair: Pair, both: PairReader) -> Product | None:
    """The factors whose product is the difference; None if it is no such product."""
    if pair.adaption is None or not pair.adaption.is_product or not isinstance(both, Adapted):
        return None
    return both.edit if isinstance(both.edit, Product) else None


def _nonfinite(reason: str) -> dict[str, Any]:
    return {"status": "nonfinite", "status_reason": reason}


def _delta(measurement: Measurement) -> dict[str, Any]:
    return {f"delta_{metric.name}": metric.compute(measurement) for metric in DELTA}

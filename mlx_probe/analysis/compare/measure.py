"""Measures a pair: how far apart the two weights are, and the spectrum of their difference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlx_probe.analysis.compare.adapted import Adapted, Product, product_spectrum
from mlx_probe.analysis.compare.blocks import Floats, PairReader, TwoWeights, WeightReader, whole
from mlx_probe.analysis.compare.columns import DELTA
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.pair import Pair
from mlx_probe.analysis.compare.rounding import rounding_edge
from mlx_probe.analysis.compare.scope import Scope, is_matrix
from mlx_probe.analysis.compare.subspaces import compare_subspaces
from mlx_probe.compute import lapack
from mlx_probe.compute.backends import Gram
from mlx_probe.compute.spectrum import MatrixReader, count_above, singular_values, zero_spectrum
from mlx_probe.core.errors import PackingError, SpectrumError
from mlx_probe.core.records import Moments, Spectrum
from mlx_probe.metrics import Measurement
from mlx_probe.runs.monitor import Gate

__all__ = ["measure_pair"]

# Outside this range a sum of squares may have overflowed, or lost terms by underflow.
_SAFE_SQUARES = (1e-250, 1e250)
_UNSAFE = "the elements' squares overflow or underflow"


@dataclass
class _Change:
    """Sums over the elements of two tensors."""

    count: int = 0
    a: float = 0.0
    b: float = 0.0
    dot: float = 0.0
    difference: float = 0.0
    largest: float = 0.0
    changed: int = 0
    nonfinite_a: int = 0
    nonfinite_b: int = 0
    # Whether an element is not 0; the sum of squares may be 0 by underflow.
    any_a: bool = False
    any_b: bool = False


def measure_pair(
    pair: Pair,
    config: CompareConfig,
    scope: Scope,
    two_stage_from: int | None = None,
    gate: Gate | None = None,
) -> dict[str, Any]:
    """The measured columns of a pair; only the status if it is already known.

    Args:
        pair: The pair.
        config: What to compute.
        scope: How much of it.
        two_stage_from: As for `singular_values`.
        gate: Passed before every chunk; None for one that is always open.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
        Stopped: The gate is closed for good.
    """
    if pair.status is not None:
        return {"status": pair.status, "status_reason": pair.reason}
    gate = gate or Gate()
    began = gate.clock()
    try:
        values = _measured(pair, config, scope, two_stage_from, gate)
    except PackingError as error:
        values = {"status": "skipped", "status_reason": error.fact}
    return {**values, "compute_seconds": gate.clock() - began}


def _measured(
    pair: Pair, config: CompareConfig, scope: Scope, two_stage_from: int | None, gate: Gate
) -> dict[str, Any]:
    both, product = _readers(pair, gate)
    if product is not None and not product.is_finite:
        return _nonfinite("the adapter's factors hold NaN or Inf")
    spectrum = None
    if product is not None and isinstance(both, Adapted) and both.magnitude is None:
        # No column is left if this fails: the norm of the change comes from it as well.
        try:
            spectrum = product_spectrum(product)
        except SpectrumError as error:
            return {"status": "failed", "status_reason": error.fact}
        change = _change_by_product(both, spectrum)
    else:
        change = _change(both)
    if change.nonfinite_a or change.nonfinite_b:
        counts = f"{change.nonfinite_a} NaN or Inf in A, {change.nonfinite_b} in B"
        return _nonfinite(f"{counts}, of {change.count} elements")
    identical = not change.changed
    values = _of_change(change, spectrum is not None and not identical)
    values |= {"status": "identical" if identical else "ok", "status_reason": None}
    if not is_matrix(pair):
        return values
    (rows, cols), short = pair.weight.extents, pair.weight.short
    if identical:
        zero = Measurement(_moments(change), config.rank_tol, zero_spectrum(rows, cols))
        same = _same_subspaces(config, short) if change.a else {}
        values |= {"delta_rank_above_rounding": None if pair.b is None or pair.factors else 0}
        return values | _of_difference(zero) | same
    values["missing_reason"] = values["missing_reason"] or scope.reason
    try:
        if scope.spectrum:
            moments = _moments(change)
            if spectrum is None:
                spectrum = _spectrum(both, rows, cols, moments, config, two_stage_from)
            values |= _of_difference(Measurement(moments, config.rank_tol, spectrum))
            if pair.b is not None and pair.factors is None:
                edge = rounding_edge(WeightReader(pair.b))
                values["delta_rank_above_rounding"] = count_above(spectrum.values, edge)
        if scope.vectors:
            values |= _subspaces(both, pair.weight.tall, short, config)
    except SpectrumError as error:
        values |= {"status": "failed", "status_reason": error.fact}
    return values


def _nonfinite(reason: str) -> dict[str, Any]:
    return {"status": "nonfinite", "status_reason": reason}


def _readers(pair: Pair, gate: Gate) -> tuple[PairReader, Product | None]:
    """The two weights of a pair, and the factors of an adapter."""
    assert pair.a is not None
    a = WeightReader(pair.a, pair.interleaved_a, gate)
    if pair.factors is not None:
        product = pair.factors.read()
        magnitude = pair.factors.magnitude
        return Adapted(a, product, None if magnitude is None else whole(magnitude)), product
    b = a if pair.b is None else WeightReader(pair.b, pair.interleaved_b, gate)
    return TwoWeights(a, b), None


def _change(both: PairReader) -> _Change:
    """Sums over all elements of two tensors."""
    sums = _Change()
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for x, y in both.blocks():
            sums.count += x.size
            if not (np.isfinite(x).all() and np.isfinite(y).all()):
                sums.nonfinite_a += x.size - int(np.count_nonzero(np.isfinite(x)))
                sums.nonfinite_b += y.size - int(np.count_nonzero(np.isfinite(y)))
                continue
            x, y = x.reshape(-1), y.reshape(-1)
            energy = float(x @ x)
            sums.a += energy
            sums.any_a = sums.any_a or bool(x.any())
            sums.any_b = sums.any_b or bool(y.any())
            changed = int(np.count_nonzero(x != y))
            if not changed:
                sums.b += energy
                sums.dot += energy
                continue
            difference = y - x
            sums.b += float(y @ y)
            sums.dot += float(x @ y)
            sums.difference += float(difference @ difference)
            sums.changed += changed
            sums.largest = max(sums.largest, float(np.abs(difference).max()))
    return sums


def _change_by_product(adapted: Adapted, spectrum: Spectrum) -> _Change:
    """The same sums for a LoRA without its product: <A, L R> = sum of (A R.T) * L by lines."""
    sums = _Change()
    left, right = adapted.product.left, adapted.product.right
    along, across = (left, right) if adapted.a.weight.tall else (right.T, left.T)
    first, cross = 0, 0.0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for x in adapted.a.lines():
            sums.count += x.size
            sums.nonfinite_a += x.size - int(np.count_nonzero(np.isfinite(x)))
            sums.a += float(np.square(x).sum())
            sums.any_a = sums.any_a or bool(x.any())
            cross += float(((x @ across.T) * along[first : first + len(x)]).sum())
            first += len(x)
        sums.difference = float(np.square(spectrum.values).sum())
    sums.dot = sums.a + cross
    sums.b = max(sums.a + 2 * cross + sums.difference, 0.0)
    # Elements are not compared one by one: either all count as changed or none.
    sums.changed = sums.count if spectrum.values[0] > 0 else 0
    # If B were 0, rounding would still leave a sum above 0.
    sums.any_b = sums.b > 0
    return sums


def _of_change(change: _Change, by_product: bool) -> dict[str, Any]:
    """The columns of change; null where squares may have overflowed or underflowed."""
    a = _root(change.a, change.any_a)
    b = _root(change.b, change.any_b)
    difference = _root(change.difference, change.changed > 0)
    cosine: float | None = None
    if not change.changed:
        cosine = 1.0
    elif a and b:
        cosine = max(-1.0, min(1.0, change.dot / a / b))
    relative: float | None = None
    if a is not None and difference is not None:
        relative = difference / a if a else (math.inf if difference else 0.0)
    return {
        "relative_change": 0.0 if not change.changed else relative,
        "cosine": cosine,
        "change_norm": difference,
        "norm": a,
        "other_norm": b,
        "max_change": None if by_product else change.largest,
        "changed_share": None if by_product or not change.count else change.changed / change.count,
        "missing_reason": _UNSAFE if None in (a, b, difference) else None,
    }


def _root(total: float, is_any: bool) -> float | None:
    """Root of a sum of squares; None if squares may have been lost."""
    if not is_any:
        return 0.0
    return math.sqrt(total) if _SAFE_SQUARES[0] < total < _SAFE_SQUARES[1] else None


def _moments(change: _Change) -> Moments:
    """What the choice of a method and the delta columns need of the difference: its range."""
    nan = math.nan
    return Moments(
        count=change.count,
        nan_count=0,
        inf_count=0,
        zero_count=change.count - change.changed,
        small_count=change.count - change.changed,
        mean=nan,
        m2=nan,
        m3=nan,
        m4=nan,
        min=-change.largest,
        max=change.largest,
        quantiles=(),
        value_dtype=None,
        rounding_variance=None,
    )


def _spectrum(
    both: PairReader,
    rows: int,
    cols: int,
    moments: Moments,
    config: CompareConfig,
    two_stage_from: int | None,
) -> Spectrum:
    """Singular values of the difference, certified like those of a weight."""
    short = min(rows, cols)
    matrix = np.zeros((short, short))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for x, y in both.blocks():
            difference = y - x
            if difference.any():
                lapack.add_gram(matrix, difference)

    def slabs() -> Iterator[Floats]:
        for x, y in both.blocks():
            difference = y - x
            yield difference if rows >= cols else difference.T

    gram = Gram(matrix, omitted=0.0)
    # Float64 leaves nothing out: no Gram matrix is more precise than this one.
    reader = MatrixReader(rows, cols, "F64", moments, slabs, lambda: gram)
    return singular_values(gram, reader, config.rank_tol, two_stage_from)


def _of_difference(measurement: Measurement) -> dict[str, Any]:
    return {f"delta_{metric.name}": metric.compute(measurement) for metric in DELTA}


def _subspaces(both: PairReader, tall: bool, short: int, config: CompareConfig) -> dict[str, Any]:
    subspaces = compare_subspaces(
        both, short, config.directions, config.intruder_directions, config.intruder_epsilon
    )
    if subspaces is None:
        return {"missing_reason": f"one of the matrices is 0, or {_UNSAFE}"}
    short_side = subspaces.short_overlap, subspaces.short_intruders
    long_side = subspaces.long_overlap, subspaces.long_intruders
    # The right singular vectors of a tall matrix have the length of its short side.
    left, right = (long_side, short_side) if tall else (short_side, long_side)
    return {
        "overlap_directions": subspaces.directions,
        "left_overlap": left[0],
        "right_overlap": right[0],
        "intruder_count": left[1],
        "right_intruder_count": right[1],
        "intruder_directions": subspaces.searched,
    }


def _same_subspaces(config: CompareConfig, short: int) -> dict[str, Any]:
    """The columns for a matrix and itself, by definition."""
    if not config.directions:
        return {}
    return {
        "overlap_directions": min(config.directions, short),
        "left_overlap": 1.0,
        "right_overlap": 1.0,
        "intruder_count": 0,
        "right_intruder_count": 0,
        "intruder_directions": min(config.intruder_directions, short),
    }

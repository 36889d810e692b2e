"""The main path, read first: a plan's weights are streamed, measured, and become rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from threadpoolctl import threadpool_limits

from mlx_probe.backends import Backend
from mlx_probe.backends.quantization import GROUP_SIZE, QUANTIZED_BITS
from mlx_probe.checkpoint import PLAIN, Weight
from mlx_probe.errors import PackingError, SpectrumError
from mlx_probe.metrics import Measurement, compute_metrics
from mlx_probe.monitor import Monitor
from mlx_probe.plan import Plan, has_spectrum
from mlx_probe.records import AnalyzeConfig, Row, Status
from mlx_probe.schedule import run_within_budget
from mlx_probe.spectrum import singular_values
from mlx_probe.version import __version__

__all__ = ["analyze_rows"]


def analyze_rows(
    plan: Plan,
    finished: Mapping[int, Row],
    monitor: Monitor,
    on_start: Callable[[Weight], None],
) -> Iterator[Row]:
    """Measure every weight of a plan.

    Args:
        plan: What to measure, with what, and how much of it at once.
        finished: Rows that are there already, by index.
        monitor: Counts the bytes that are read.
        on_start: Called with every weight when its turn comes, from a worker's thread.

    Yields:
        One row for each weight that is not finished, as they are done; copies of other
        weights come last.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
    """

    def work(index: int) -> Row:
        weight = plan.weights[index]
        on_start(weight)
        began = time.perf_counter()
        try:
            outcome = _measure(weight, plan.backend, plan.config, monitor)
        except PackingError as error:
            outcome = _Outcome("skipped", error.fact)
        seconds = time.perf_counter() - began
        return Row(index, {**_identity(plan, weight), **_values(plan, weight, outcome, seconds)})

    copies = {i: of for i, of in plan.aliases.items() if i not in finished}
    originals = {of: finished[of] for of in copies.values() if of in finished}
    todo = [
        (i, size)
        for i, size in enumerate(plan.sizes)
        if i not in finished and i not in plan.aliases
    ]
    # One BLAS thread to a worker: matrices side by side beat threads within one, and sums
    # come out the same whatever the number of workers.
    with threadpool_limits(1, user_api="blas"):
        for row in run_within_budget(work, todo, plan.config.workers, plan.budget):
            if row.index in copies.values():
                originals[row.index] = row
            yield row
    for index, of in copies.items():
        on_start(plan.weights[index])
        yield Row(index, _copied(plan, index, originals[of]))


@dataclass(frozen=True)
class _Outcome:
    status: Status
    reason: str | None
    measurement: Measurement | None = None
    read_seconds: float = 0.0


def _measure(weight: Weight, backend: Backend, config: AnalyzeConfig, monitor: Monitor) -> _Outcome:
    """Stream one weight once; moments and Gram matrix come from the same slabs."""
    if weight.problem is not None:
        return _Outcome("skipped", weight.problem)
    if weight.numel == 0:
        return _Outcome("empty", "the tensor has no elements")
    if not weight.shape:
        return _Outcome("scalar", "the tensor is 0-D: one number has no distribution")

    dtype, matrix = weight.chunk_dtype, has_spectrum(weight)
    rows, cols = weight.rows or 0, weight.cols or 0
    elements = backend.element_pass(dtype, config.zero_epsilon)
    gram = backend.gram_pass(rows, cols, dtype) if matrix else None
    rounding = None
    if matrix and config.metrics == "full":
        packed = weight.parameter.packing != PLAIN
        bits = () if packed or cols % GROUP_SIZE else QUANTIZED_BITS
        rounding = backend.quantization_pass(rows, cols, dtype, bits)

    read_seconds, clock = 0.0, time.perf_counter()
    for stored in weight.chunks():
        chunk = backend.load(stored, dtype)
        read_seconds += time.perf_counter() - clock
        monitor.add_read(weight.nbytes * stored.size // weight.numel)
        elements.add(chunk)
        if gram is not None:
            gram.add(chunk)
        if rounding is not None:
            rounding.add(chunk)
        # Or this slab would still be there while the next one is unpacked.
        del stored, chunk
        clock = time.perf_counter()

    moments = elements.finish()
    if moments.nan_count or moments.inf_count:
        found = f"{moments.nan_count} NaN and {moments.inf_count} Inf in {moments.count} elements"
        measurement = Measurement(moments, config.rank_tol)
        return _Outcome("nonfinite", found, measurement, read_seconds)
    status: Status = "ok"
    reason, spectrum = None, None
    if gram is not None:
        try:
            spectrum = singular_values(
                gram.finish(), moments, rows, cols, weight.chunks, dtype, backend, config.rank_tol
            )
        except SpectrumError as error:
            status, reason = "failed", error.fact
    quantization = None if rounding is None else rounding.finish()
    measurement = Measurement(moments, config.rank_tol, spectrum, quantization)
    return _Outcome(status, reason, measurement, read_seconds)


def _identity(plan: Plan, weight: Weight) -> dict[str, Any]:
    """The columns that the headers tell."""
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


def _values(plan: Plan, weight: Weight, outcome: _Outcome, seconds: float) -> dict[str, Any]:
    """The columns that measuring tells."""
    read = outcome.read_seconds
    metrics = (
        compute_metrics(outcome.measurement, plan.config.metrics) if outcome.measurement else {}
    )
    return {
        "created_at": datetime.now(timezone.utc),
        "read_seconds": read,
        "compute_seconds": max(seconds - read, 0.0),
        "read_gbps": weight.nbytes / read / 1e9 if read > 0 else None,
        "status": outcome.status,
        "status_reason": outcome.reason,
        **metrics,
    }


def _copied(plan: Plan, index: int, original: Row) -> dict[str, Any]:
    """A copy's columns: its own name and place, the original's numbers."""
    return {
        **original.values,
        **_identity(plan, plan.weights[index]),
        "created_at": datetime.now(timezone.utc),
        "read_seconds": 0.0,
        "compute_seconds": 0.0,
        "read_gbps": None,
        "alias_of": plan.weights[original.index].label,
    }

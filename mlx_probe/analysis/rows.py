"""The rows of weights: what their headers give, and what measuring gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from mlx_probe.checkpoint import PLAIN, Weight
from mlx_probe.core.machine import host_name
from mlx_probe.core.records import Row
from mlx_probe.core.version import __version__
from mlx_probe.metrics import BEYOND_RANGE, compute_metrics

if TYPE_CHECKING:
    from mlx_probe.analysis.measure import Measurer, Outcome
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.runs.journal import JournalRows
    from mlx_probe.runs.monitor import UsageMeter

__all__ = ["copied_row", "every_row", "measured_rows", "row_of"]


def measured_rows(
    plan: Plan, measurer: Measurer, meter: UsageMeter, batch: Sequence[int]
) -> list[Row]:
    """Measure a weight, or a batch of equal ones.

    Args:
        plan: The plan.
        measurer: Measures; made for the plan.
        meter: Counts the time that metrics take.
        batch: Positions of the weights, as `work_order` puts them together.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
        Stopped: The monitor's gate is closed for good.
    """
    outcomes = measurer.measure([plan.weights[index] for index in batch])
    with meter.stage("metrics"):
        return [
            row_of(plan, index, outcome) for index, outcome in zip(batch, outcomes, strict=True)
        ]


def row_of(plan: Plan, index: int, outcome: Outcome) -> Row:
    """The row of a weight.

    Args:
        plan: The plan.
        index: Position of the weight.
        outcome: What measuring gave.
    """
    weight = plan.weights[index]
    values = {**_identity(plan, weight), **_values(plan, weight, outcome)}
    return Row(index, values, outcome.sigma if plan.config.save_spectra else None)


def copied_row(plan: Plan, index: int, original: Row) -> Row:
    """The row of a copy: its own name and role, the numbers of the original.

    Args:
        plan: The plan.
        index: Position of the copy.
        original: The row of the weight with the same bytes.
    """
    values = {
        **original.values,
        **_identity(plan, plan.weights[index]),
        "device": original.values["device"],
        "backend": original.values["backend"],
        "created_at": datetime.now(timezone.utc),
        "read_seconds": 0.0,
        "compute_seconds": 0.0,
        "read_gbps": None,
        "alias_of": plan.weights[original.index].label,
    }
    return Row(index, values)


def every_row(plan: Plan, finished: JournalRows) -> Iterator[Row]:
    """The rows of all weights, in file order, one at a time in memory.

    Rows of what the sample leaves out follow from the headers: no journal has them.

    Args:
        plan: The plan.
        finished: The rows of all weights that are sampled.

    Raises:
        KeyError: One is not there.
        ResultError: The journal can no longer be read.
    """
    positions = range(len(plan.weights))
    measured = finished.read(i for i in positions if i not in plan.unsampled)
    for index in positions:
        yield _unsampled_row(plan, index) if index in plan.unsampled else next(measured)


def _unsampled_row(plan: Plan, index: int) -> Row:
    values = {
        **_identity(plan, plan.weights[index]),
        "created_at": datetime.now(timezone.utc),
        "status": "unsampled",
        "status_reason": plan.unsampled[index],
    }
    return Row(index, values)


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
        "host": host_name(),
        "read_seconds": read,
        "compute_seconds": max(outcome.seconds - read, 0.0),
        "read_gbps": weight.nbytes / read / 1e9 if read > 0 else None,
        "status": outcome.status,
        "status_reason": reason,
        **metrics,
    }

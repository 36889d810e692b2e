"""The rows of pairs: what their headers give, and what measuring gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlx_probe.checkpoint import Weight
from mlx_probe.core.machine import host_name
from mlx_probe.core.records import Row

if TYPE_CHECKING:
    from mlx_probe.analysis.compare.measure import PairMeasurer
    from mlx_probe.analysis.compare.pair import Pair
    from mlx_probe.analysis.compare.plan import ComparePlan

__all__ = ["measured_rows", "prefetch", "row_of"]


def measured_rows(plan: ComparePlan, measurer: PairMeasurer, batch: Sequence[int]) -> list[Row]:
    """Measure a pair, or a batch of equal ones.

    Args:
        plan: The plan.
        measurer: Measures; made for the plan.
        batch: Positions of the pairs, as `pair_order` puts them together.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
        Stopped: The monitor's gate is closed for good.
    """
    pairs = [(plan.pairs[index], plan.scopes[index]) for index in batch]
    values = measurer.measure_batch(pairs) if len(pairs) > 1 else [measurer.measure(*pairs[0])]
    return [row_of(plan, index, each) for index, each in zip(batch, values, strict=True)]


def row_of(plan: ComparePlan, index: int, values: Mapping[str, Any]) -> Row:
    """The row of a pair.

    Args:
        plan: The plan.
        index: Position of the pair.
        values: The measured columns.
    """
    return Row(index, {**_identity(plan.pairs[index]), **values, "host": host_name()})


def prefetch(pair: Pair) -> None:
    """Read both weights ahead, if they are read at all."""
    for weight in (pair.a, pair.b):
        if weight is not None and pair.status is None:
            weight.prefetch()


def _identity(pair: Pair) -> dict[str, Any]:
    """The columns that the headers give."""
    a, b, weight = pair.a, pair.b, pair.weight
    # For an adapter, B is one of its tensors: the table does not show it.
    shape, dtype, packing = _stored(a)
    other_shape, other_dtype, other_packing = _stored(None if pair.adaption is not None else b)
    return {
        "param_name": a.name if a else None,
        "other_name": b.name if b else None,
        "layer_index": weight.role.layer_index,
        "block_type": weight.role.block_type,
        "component": weight.role.component,
        "expert_index": weight.expert_index,
        "part": weight.part.name if weight.part else None,
        "shape": shape,
        "other_shape": other_shape,
        "rows": weight.rows,
        "cols": weight.cols,
        "numel": weight.numel,
        "dtype": dtype,
        "other_dtype": other_dtype,
        "packing": packing,
        "other_packing": other_packing,
        "matched_by": pair.matched_by,
    }


def _stored(side: Weight | None) -> tuple[Any, Any, Any]:
    """Shape, type and packing of one side; None for one that is not there."""
    if side is None:
        return None, None, None
    return side.shape, side.dtype, side.parameter.packing

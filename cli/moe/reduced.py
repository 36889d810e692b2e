"""What `moe prune` and `moe merge` say of the mixture that they wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlx_probe.core.language import tr
from mlx_probe.core.units import format_size

if TYPE_CHECKING:
    from mlx_probe.lab.moe.reduce.write import Reduced

__all__ = ["reduced_text"]


def reduced_text(reduced: Reduced) -> str:
    """Where a mixture with fewer experts is, and what it lost."""
    lines = [
        tr(
            "{folder}: {size}, {tensors} tensors, {stock}",
            folder=reduced.folder,
            size=format_size(reduced.bytes),
            tensors=f"{reduced.tensors:,}",
            stock=reduced.stock,
        ),
        tr(
            "{experts} of {before} experts in {layers} layers, {active} active",
            experts=reduced.experts,
            before=reduced.experts_before,
            layers=reduced.layers,
            active=reduced.active,
        ),
    ]
    losses = reduced.measured
    if losses is None:
        return "\n".join([*lines, tr("not run: the receipt has no loss")])
    return "\n".join(
        [
            *lines,
            tr(
                "loss {before} before, {after} after, over {tokens} tokens of {data}",
                before=f"{losses.loss_before:.4f}",
                after=f"{losses.loss_after:.4f}",
                tokens=losses.tokens,
                data=losses.data,
            ),
        ]
    )

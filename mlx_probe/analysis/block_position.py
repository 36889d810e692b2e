"""Which block of a network a weight is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Weight

__all__ = ["position_of"]


def position_of(weight: Weight) -> tuple[str, int | None]:
    """The stack of blocks that a weight is in, and the number of its block there.

    Encoder and decoder both count from 0. The stack distinguishes them: it is the name up to
    the block's number ("model.layers"), and "" for a weight outside all blocks.
    """
    segments = weight.name.split(".")
    number = str(weight.role.layer_index)
    known = weight.role.layer_index is not None and number in segments
    stack = ".".join(segments[: segments.index(number)]) if known else ""
    return stack, weight.role.layer_index

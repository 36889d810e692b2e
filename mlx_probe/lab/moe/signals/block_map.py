r"""The map of blocks ("SPS"): where units are active, against where the loss depends on them.

Units are those of the residual stream behind each layer. For token t, layer l, block b of them

    a_tlb = mean of h_tl over the units of b
    g_tlb = |dL/dh_tl| over the units of b (L2)
    SPS_tlb = z_b(a_tlb) - z_b(g_tlb)

with z over the blocks of that layer for that token: (value - mean) / deviation, 0 where all are
equal. A heuristic of one research group: it says what its formula says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError

__all__ = ["block_scores", "refuse_block"]


def refuse_block(block: int, width: int, model: str) -> None:
    """Refuse blocks that the stream cannot be cut into.

    Args:
        block: Units of a block.
        width: Units of the stream.
        model: Name of the model.

    Raises:
        ConfigError: They do not divide the width, or are its whole.
    """
    if width % block or width == block:
        sizes = [size for size in range(1, width // 2 + 1) if width % size == 0]
        near = sorted(sizes, key=lambda size: abs(size - block))[:4]
        raise ConfigError(
            f"{model} has {width} units in the residual stream, which are not two or more blocks "
            f"of {block}",
            f"Give --block {' or '.join(map(str, sorted(near)))}",
        )


def block_scores(
    hidden: NDArray[np.float32], gradient: NDArray[np.float32], block: int
) -> NDArray[np.float32]:
    """SPS of one layer.

    Args:
        hidden: The stream behind the layer, (tokens, width).
        gradient: Of the loss by it, (tokens, width).
        block: Units of a block; divides the width.

    Returns:
        (tokens, width / block).
    """
    units = (hidden.shape[0], -1, block)
    active = hidden.astype(np.float64).reshape(units).mean(axis=-1)
    norms = np.linalg.norm(gradient.astype(np.float64).reshape(units), axis=-1)
    return (_standardized(active) - _standardized(norms)).astype(np.float32)


def _standardized(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Along the last axis."""
    centred = values - values.mean(axis=-1, keepdims=True)
    deviation = values.std(axis=-1, keepdims=True)
    zeros = np.zeros_like(centred)
    return np.divide(centred, deviation, out=zeros, where=deviation > 0)

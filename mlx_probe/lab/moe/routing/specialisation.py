"""Whether experts are chosen for other kinds of tokens, or other places, than their layer is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.moe.routing.record import LayerRouting

__all__ = ["POSITION_BINS", "Specialisation", "position_bins", "specialisation"]

# Parts of a row that positions are counted in.
POSITION_BINS = 8

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Specialisation:
    """How the experts of a layer share the groups of tokens.

    Attributes:
        load: Of each expert among the tokens of a group, (N, groups): a column adds up to 1, or
            is 0 where the text has no such tokens.
        divergence: Of each expert, (N,): Jensen-Shannon divergence of its tokens' groups from
            those of all assignments of the layer, in bits: 0 if they are the same, at most 1
            (Lin, "Divergence Measures Based on the Shannon Entropy", 1991). NaN for an expert
            without tokens.
        information: Mutual information of expert and group of an assignment, in bits: what the
            expert says of the group.
    """

    load: Floats
    divergence: Floats
    information: float


def specialisation(layer: LayerRouting, groups: NDArray[np.integer], count: int) -> Specialisation:
    """How the experts of a layer share groups of tokens.

    Args:
        layer: T tokens.
        groups: Of each token, (T,), less than ``count``.
        count: Number of groups.
    """
    cells = layer.indices.astype(np.int64) * count + groups[:, None]
    counts = np.bincount(cells[layer.active], minlength=layer.experts * count)
    counts = counts.reshape(layer.experts, count)
    of_group, of_expert = counts.sum(0), counts.sum(1)
    joint = counts / counts.sum()
    product = np.outer(joint.sum(1), joint.sum(0))
    everywhere = of_group / of_group.sum()
    used = of_expert > 0
    divergence = np.full(layer.experts, np.nan)
    own = counts[used] / of_expert[used, None]
    divergence[used] = _jensen_shannon(own, np.broadcast_to(everywhere, own.shape))
    return Specialisation(
        load=counts / np.maximum(of_group, 1),
        divergence=divergence,
        information=max(0.0, float(_relative(joint.ravel(), product.ravel()))),
    )


def position_bins(positions: NDArray[np.integer], length: int) -> NDArray[np.int64]:
    """The part of its row that each token is in, of `POSITION_BINS` equal ones."""
    return positions.astype(np.int64) * POSITION_BINS // length


def _jensen_shannon(one: Floats, other: Floats) -> Floats:
    middle = (one + other) / 2
    found = (_relative(one, middle) + _relative(other, middle)) / 2
    return np.clip(found, 0, 1)


def _relative(one: Floats, other: Floats) -> Floats:
    """Relative entropy in bits along the last axis; 0 log 0 is 0."""
    ratio = np.divide(one, other, out=np.ones_like(one), where=one > 0)
    total: Floats = (one * np.log2(ratio)).sum(-1)
    return total

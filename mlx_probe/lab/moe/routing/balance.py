"""How evenly tokens are spread over the experts of a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.moe.routing.record import LayerRouting

__all__ = ["Balance", "balance_of", "coactivation"]

# Tokens whose choices are in memory as a matrix (T, N).
_AT_ONCE = 4096


@dataclass(frozen=True)
class Balance:
    """How evenly tokens are spread.

    Attributes:
        gini: Gini coefficient of the loads: 0 for equal ones, 1 - 1 / N where one expert has all.
        entropy: Of the loads, in nats; at most ln N.
        effective: exp(entropy): the number of equally loaded experts with that entropy.
        dead: Experts that no token was given to.
        mean_active: Chosen experts of a token, mean over tokens.
    """

    gini: float
    entropy: float
    effective: float
    dead: tuple[int, ...]
    mean_active: float


def balance_of(layer: LayerRouting) -> Balance:
    """The spread of a layer's loads (Gini 1912, Shannon 1948, Hill 1973)."""
    load = np.sort(layer.load)
    count = len(load)
    ranks = 2 * np.arange(1, count + 1) - count - 1
    used = load[load > 0]
    entropy = float(-(used * np.log(used)).sum())
    return Balance(
        gini=float((ranks * load).sum() / (count * load.sum())),
        entropy=entropy,
        effective=float(np.exp(entropy)),
        dead=tuple(np.flatnonzero(layer.assignments == 0).tolist()),
        mean_active=float(layer.active.sum(1).mean()),
    )


def coactivation(layer: LayerRouting) -> NDArray[np.int64]:
    """Tokens that were given to both of two experts, (N, N); the diagonal has those of each."""
    together = np.zeros((layer.experts, layer.experts), np.int64)
    for first in range(0, len(layer.indices), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        indices, active = layer.indices[part], layer.active[part]
        chosen = np.zeros((len(indices), layer.experts), np.float32)
        rows = np.broadcast_to(np.arange(len(indices))[:, None], indices.shape)
        chosen[rows[active], indices[active]] = 1
        together += (chosen.T @ chosen).astype(np.int64)
    return together

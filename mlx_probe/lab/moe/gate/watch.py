"""What the mixtures of a model see of a text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.moe.gate.begin import Seen
from mlx_probe.lab.moe.gate.install import mixtures
from mlx_probe.lab.moe.gate.mixture import GatedMixture

__all__ = ["watch_mixtures"]


class _Watched(nn.Module):
    """A mixture that keeps its inputs, and the norms of its experts' outputs."""

    def __init__(self, inner: GatedMixture, kept: list[tuple[Any, Any]]) -> None:
        super().__init__()
        self.inner = inner
        self._keep = kept.append

    def __call__(self, x: mx.array) -> mx.array:
        tokens = x.reshape(-1, x.shape[-1])
        norms = self.inner.output_norms(tokens)
        self._keep((np.array(tokens.astype(mx.float32)), np.array(norms)))
        result: mx.array = self.inner(x)
        return result


def watch_mixtures(network: Any, batches: Iterable[NDArray[np.integer]]) -> list[Seen]:
    """Let a model read tokens; it is as before at the end.

    Args:
        network: With gates of ours; see `install_gates`.
        batches: Tokens, (B, T + 1) each; the last of a row is not read.

    Returns:
        What each layer's mixture saw. Two arrays a layer are in memory.
    """
    found = mixtures(network)
    kept: defaultdict[int, list[tuple[Any, Any]]] = defaultdict(list)
    places = [
        (layer, name, number)
        for layer in network.layers
        for name, each in layer.children().items()
        for number, mixture in enumerate(found)
        if each is mixture
    ]
    try:
        for layer, name, number in places:
            layer[name] = _Watched(found[number], kept[number])
        for batch in batches:
            mx.eval(network(mx.array(batch[:, :-1].astype(np.int32))))
    finally:
        for layer, name, number in places:
            layer[name] = found[number]
    parts = [zip(*kept[number], strict=True) for number in range(len(found))]
    return [Seen(*(np.concatenate(list(part)) for part in each)) for each in parts]

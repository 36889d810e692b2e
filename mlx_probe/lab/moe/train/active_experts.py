"""How many experts tokens use: by token, by layer, by position.

active_experts.parquet    a row for each token of the validation text and each layer
active_experts.json       counts of K for each layer, means for bins of positions, fallbacks
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.files import write_error, write_text
from mlx_probe.lab.moe.gate.routing import Record
from mlx_probe.runs.training.folder import ACTIVE_EXPERTS

__all__ = ["ActiveExperts", "count_active", "write_active"]


@dataclass(frozen=True)
class ActiveExperts:
    """The experts that tokens use.

    Attributes:
        experts: Of a layer.
        tokens: (sequences, positions).
        active: How many each uses, (layers, sequences, positions).
        fallback: Whether none fired, the same shape.
    """

    experts: int
    tokens: NDArray[np.int32]
    active: NDArray[np.int16]
    fallback: NDArray[np.bool_]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Tokens with K experts, (layers, experts + 1)."""
        bins = self.experts + 1
        return np.stack([np.bincount(layer.ravel(), minlength=bins) for layer in self.active])

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        counts, layers = self.counts, len(self.active)
        means = counts @ np.arange(self.experts + 1) / counts.sum(1)
        used = np.flatnonzero(counts.sum(0))
        return {
            "tokens": int(self.tokens.size),
            "layers": layers,
            "experts": self.experts,
            "mean": float(means.mean()),
            "min": int(used[0]),
            "max": int(used[-1]),
            "fallback": float(self.fallback.mean()),
            "by_layer": [
                {
                    "layer": layer,
                    "mean": float(means[layer]),
                    "fallback": float(self.fallback[layer].mean()),
                    "tokens_by_active": counts[layer].tolist(),
                }
                for layer in range(layers)
            ],
            "by_position": [
                {
                    "first": first,
                    "last": last - 1,
                    "mean": float(self.active[:, :, first:last].mean()),
                    "fallback": float(self.fallback[:, :, first:last].mean()),
                    "mean_by_layer": self.active[:, :, first:last].mean((1, 2)).tolist(),
                }
                for first, last in _bins(self.tokens.shape[1])
            ],
        }


def count_active(
    network: Any, record: Record, batches: Iterable[NDArray[np.integer]], experts: int
) -> ActiveExperts:
    """Let a mixture read a text, and keep how many experts each token uses.

    Args:
        network: With gates of ours.
        record: Of its gates.
        batches: Tokens, (B, T + 1) each, all of one length.
        experts: Of a layer.
    """
    tokens, active, fallback = [], [], []
    network.eval()
    for batch in batches:
        inputs = batch[:, :-1].astype(np.int32)
        with record.kept() as routing:
            network(mx.array(inputs))
        counts = mx.stack([mx.sum(layer.active, axis=-1) for layer in routing])
        fired = mx.stack([layer.fallback for layer in routing])
        mx.eval(counts, fired)
        tokens.append(inputs)
        active.append(np.array(counts).astype(np.int16))
        fallback.append(np.array(fired))
    network.train()
    return ActiveExperts(
        experts, np.concatenate(tokens), np.concatenate(active, 1), np.concatenate(fallback, 1)
    )


def write_active(folder: Path, found: ActiveExperts) -> dict[str, Any]:
    """Write the table and the counts.

    Args:
        folder: Of the run.
        found: The experts.

    Returns:
        What the metadata say: the counts without those of single layers.

    Raises:
        ResultError: The disk refused.
    """
    import pyarrow as pa
    from pyarrow import parquet

    layers, sequences, positions = found.active.shape
    # Token by token, and of each the layers in their order.
    order = (1, 2, 0)
    size = sequences * positions * layers
    sequence, position, layer = np.unravel_index(np.arange(size), (sequences, positions, layers))
    table = pa.table(
        {
            "sequence": sequence.astype(np.int32),
            "position": position.astype(np.int32),
            "token": np.repeat(found.tokens.ravel(), layers),
            "layer": layer.astype(np.int16),
            "active": found.active.transpose(order).ravel(),
            "fallback": found.fallback.transpose(order).ravel(),
        }
    )
    name, summary = ACTIVE_EXPERTS
    described = found.describe()
    try:
        parquet.write_table(table, folder / name, compression="zstd")
    except OSError as error:
        raise write_error(folder / name, error) from error
    write_text(folder / summary, json.dumps(described, indent=1) + "\n")
    return {key: value for key, value in described.items() if not key.startswith("by_")}


def _bins(positions: int) -> list[tuple[int, int]]:
    """0, 1, 2 to 3, 4 to 7 ... : first and the one behind the last."""
    edges = [0, 1]
    while edges[-1] < positions:
        edges.append(min(2 * edges[-1], positions))
    return list(pairwise(edges))

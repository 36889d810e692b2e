"""The text that a mixture reads for its statistics, and how that joins what its weights say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import replacing
from mlx_probe.core.units import format_size
from mlx_probe.lab.device import available_memory, device_label, use_device
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.moe.routing.measure import measure_routing
from mlx_probe.lab.moe.routing.tables import BINS, RoutedLayer, RoutedText, routed_text
from mlx_probe.lab.moe.text import text_rows

if TYPE_CHECKING:
    from mlx_probe.analysis.mixture.layer import MixtureLayer
    from mlx_probe.checkpoint import Checkpoint
    from mlx_probe.lab.generate.loading import LoadedModel
    from mlx_probe.lab.moe.stats.config import StatsConfig

__all__ = ["JoinedText", "Reading", "open_reading", "require_memory"]

# Tokens of a row, at most: attention takes memory for each pair of them.
_ROW = 1024


@dataclass(frozen=True)
class Reading:
    """A mixture and a text, ready to be read.

    Attributes:
        loaded: The mixture, as mlx-lm runs it.
        data: The text.
        rows: See `text_rows`.
    """

    loaded: LoadedModel
    data: str
    rows: NDArray[np.int32]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the tokens, as 64 hex digits."""
        return hashlib.sha256(np.ascontiguousarray(self.rows, "<i4").tobytes()).hexdigest()

    def read(self, on_rows: Callable[[int, int], None]) -> JoinedText:
        """Let the mixture read.

        Args:
            on_rows: Called with the rows that are read, and all.

        Raises:
            ProbeError: See `measure_routing`.
        """
        routing = measure_routing(self.loaded, self.rows, on_rows)
        text = routed_text(routing, self.loaded.tokenizer)
        described = {
            "data": self.data,
            "tokens": len(routing.tokens),
            "rows": len(self.rows),
            "loss": routing.loss,
            "ran_on": device_label(),
            "ran_in": self.loaded.dtype,
            "bins": {name: list(names) for name, names in BINS.items()},
        }
        return JoinedText(text, described)


@dataclass(frozen=True)
class JoinedText:
    """A text that was read, as it joins the tables and maps of the weights.

    Attributes:
        text: The text.
        described: Its part of the metadata; see `mlx_probe.runs.mixture.routing`.
    """

    text: RoutedText
    described: Mapping[str, Any]

    def layers(self, measured: Sequence[MixtureLayer]) -> list[RoutedLayer]:
        """What joins each layer of the weights.

        A layer that mlx-lm does not run, such as one that predicts further tokens, has no
        numbers, and the reason.
        """
        routed = self.text.routing.layers
        places = {layer.layer: place for place, layer in enumerate(routed)}
        joined = []
        for layer in measured:
            place = places.get(layer.index) if layer.index is not None else None
            if place is None or routed[place].experts != len(layer.experts):
                joined.append(_without(len(layer.experts)))
            else:
                joined.append(self.text.layer(place))
        return joined

    def write_beginning(self, path: Path) -> None:
        """Write `ROUTING` by atomic replacement.

        Raises:
            ResultError: The disk refused.
        """
        from mlx_probe.runs.table import WRITERS

        with replacing(path) as written:
            WRITERS["parquet"].write(self.text.beginning(), written)


def open_reading(model: str, config: StatsConfig) -> Reading:
    """Load a mixture and the beginning of a text.

    Args:
        model: A model reference, or the folder of a training run.
        config: Which text, how many tokens, and the device.

    Raises:
        ProbeError: See `load_model` and `text_rows`.
    """
    use_device(config.device)  # type: ignore[arg-type]
    loaded = load_model(model, by_mlx_lm=True)
    return Reading(loaded, config.data, text_rows(loaded, config.data, config.tokens, _ROW))


def require_memory(checkpoint: Checkpoint, device: str) -> None:
    """Refuse a model that is too large to run.

    Args:
        checkpoint: The model.
        device: As of `use_device`.

    Raises:
        ConfigError: It does not fit in the device's memory.
    """
    on_gpu = device != "cpu" and mx.is_available(mx.gpu)
    # On a CPU weights of 16 bits become float32.
    needed = sum(
        each.nbytes * (2 if not on_gpu and each.nbytes == 2 * each.numel else 1)
        for each in checkpoint.parameters
    )
    memory = available_memory(on_gpu)
    if needed > memory:
        raise ConfigError(
            f"to run {checkpoint.files.model_id} takes {format_size(needed)}, and there are "
            f"{format_size(memory)}",
            "Leave --data out: weights are measured without a run",
        )


def _without(experts: int) -> RoutedLayer:
    reason = "mlx-lm does not run this layer"
    return RoutedLayer(tuple({} for _ in range(experts)), {"router_reason": reason}, {})

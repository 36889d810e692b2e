"""What signals are measured on: a model, its mixtures, and the windows of a text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.units import format_size
from mlx_probe.lab.device import available_memory, device_label
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.moe.logits import single_precision
from mlx_probe.lab.moe.routing.blocks import find_blocks
from mlx_probe.lab.moe.signals.block_map import refuse_block
from mlx_probe.lab.moe.signals.gradients import stream_shape
from mlx_probe.lab.moe.stock import is_mixture
from mlx_probe.lab.moe.text import text_rows
from mlx_probe.lab.tune.identity import base_digest
from mlx_probe.runs.fingerprint import fingerprint_of
from mlx_probe.runs.mixture.signals import KIND

if TYPE_CHECKING:
    from mlx_probe.lab.generate.loading import LoadedModel
    from mlx_probe.lab.moe.routing.blocks import Block
    from mlx_probe.lab.moe.signals.config import SignalsConfig

__all__ = ["Subject", "open_subject"]

# Raised when windows of an earlier version are of no use.
_VERSION = 1
_FLOAT32 = 4


@dataclass(frozen=True)
class Subject:
    """A model and a text.

    Attributes:
        loaded: The model, float32.
        blocks: Its mixtures; none of a dense model.
        data: The text.
        rows: Its windows, (windows, T + 1); see `text_rows`.
        layers: Layers of the model.
        width: Units of its residual stream.
        config: Settings.
    """

    loaded: LoadedModel
    blocks: tuple[Block, ...]
    data: str
    rows: NDArray[np.int32]
    layers: int
    width: int
    config: SignalsConfig

    @property
    def mixture_layers(self) -> Sequence[int]:
        """The layer of each mixture."""
        return [block.layer for block in self.blocks]

    def fingerprint(self) -> str:
        """SHA-256 of everything that decides a window's numbers, as hex digits.

        Raises:
            OSError: A file of the model is gone.
        """
        return fingerprint_of(
            {
                "version": _VERSION,
                "kind": KIND,
                "model": base_digest(self.loaded.folder),
                "rows": hashlib.sha256(self.rows.tobytes()).hexdigest(),
                "shape": list(self.rows.shape),
                "settings": asdict(self.config),
                "device": device_label(),
            }
        )

    def describe(self) -> dict[str, Any]:
        """What is known before the first window, for the plan and the metadata."""
        return {
            "model": {"id": self.loaded.name, "path": str(self.loaded.folder)},
            "data": self.data,
            "configuration": asdict(self.config),
            "windows": len(self.rows),
            "window": self.rows.shape[1] - 1,
            "tokens": self.rows[:, 1:].size,
            "mixtures": len(self.blocks),
            "device": device_label(),
        }


def open_subject(model: str, data: str, config: SignalsConfig) -> Subject:
    """Open a model and a text; see `signals` for arguments and errors."""
    loaded = load_model(model)
    network = loaded.model
    packed = [name for name, module in network.named_modules() if hasattr(module, "bits")]
    if packed:
        raise ConfigError(
            f"{model}: {packed[0]} is quantized, and its codes have no gradient",
            "Give the model that it was made from, or unpack it with `mlx_lm.convert --dequantize`",
        )
    numbers = sum(array.size for _, array in tree_flatten(network.parameters()))
    needed, memory = 2 * _FLOAT32 * numbers, available_memory(mx.default_device().type == mx.gpu)
    if needed > memory:
        raise ConfigError(
            f"weights and gradients of {model} in float32 take {format_size(needed)}, and there "
            f"are {format_size(memory)}",
            "Choose a smaller model, or a machine with more memory",
        )
    single_precision(network)
    blocks = _blocks(loaded)
    layers, width = stream_shape(network, np.zeros(1, np.int32), model)
    refuse_block(config.block, width, model)
    rows = text_rows(loaded, data, config.tokens, config.window)
    return Subject(loaded, blocks, data, rows, layers, width, config)


def _blocks(loaded: LoadedModel) -> tuple[Block, ...]:
    """The mixtures of a model; none of one that says that it is dense."""
    try:
        return find_blocks(loaded.model, loaded.name)
    except ConfigError:
        if is_mixture(json.loads((loaded.folder / "config.json").read_text("utf-8"))):
            raise
        return ()

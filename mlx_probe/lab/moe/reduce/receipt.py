"""What fewer experts changed: the mixture before and after on one text, in float32."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.device import available_memory, device_label
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.moe.logits import mean_loss, single_precision
from mlx_probe.lab.moe.reduce.losses import Losses
from mlx_probe.lab.moe.running import FLOAT32, require_finite, require_memory
from mlx_probe.lab.moe.text import text_rows

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Checkpoint
    from mlx_probe.lab.generate.loading import LoadedModel

__all__ = ["Before", "measure_after", "measure_before", "open_mixture"]


@dataclass(frozen=True)
class Before:
    """The mixture on the held-out text.

    Attributes:
        data: The text.
        skipped: Tokens at its beginning that scores were computed on.
        rows: The tokens after them; see `text_rows`.
        loss: Mean nats a token.
    """

    data: str
    skipped: int
    rows: NDArray[np.int32]
    loss: float


def open_mixture(folder: Path, model: Checkpoint, remedy: str) -> LoadedModel:
    """Load a mixture as mlx-lm's class, in float32.

    Args:
        folder: Its folder.
        model: The same, by its headers.
        remedy: How to do without the run.

    Raises:
        ConfigError: It does not fit in memory.
        ProbeError: See `load_model`.
    """
    # mlx-lm leaves its own packing as it is.
    needed = sum(
        each.nbytes if each.packing == "mlx" else prod(each.shape) * FLOAT32
        for each in model.parameters
    )
    require_memory(needed, available_memory(mx.default_device().type == mx.gpu), remedy)
    loaded = load_model(folder, by_mlx_lm=True)
    single_precision(loaded.model)
    return loaded


def measure_before(loaded: LoadedModel, data: str, skipped: int, tokens: int) -> Before:
    """Measure the mixture on the text after what scores are computed on.

    Raises:
        ProbeError: See `text_rows`.
        CheckpointError: It predicts no numbers.
    """
    rows = text_rows(loaded, data, tokens, skipped=skipped)
    loss = mean_loss(loaded.model, rows)
    require_finite(loss, loaded.name)
    return Before(data, skipped, rows, loss)


def measure_after(folder: Path, before: Before) -> Losses:
    """Load the smaller mixture as mlx-lm's stock class, and measure it.

    Args:
        folder: Where it is.
        before: The mixture.
    """
    model = single_precision(load_model(folder, by_mlx_lm=True).model)
    loss = mean_loss(model, before.rows)
    del model
    mx.clear_cache()
    return Losses(
        data=before.data,
        skipped=before.skipped,
        tokens=before.rows.shape[0] * (before.rows.shape[1] - 1),
        context=before.rows.shape[1] - 1,
        device=device_label(),
        loss_before=before.loss,
        loss_after=loss,
    )

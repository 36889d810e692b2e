"""What a graft changed: the dense model and the mixture on one text, in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.units import format_size
from mlx_probe.lab.device import device_label
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.moe.damage import damage_curve
from mlx_probe.lab.moe.logits import row_logits, single_precision
from mlx_probe.lab.moe.running import FLOAT32, require_finite
from mlx_probe.lab.moe.text import text_rows

if TYPE_CHECKING:
    from mlx_probe.lab.generate.loading import LoadedModel

__all__ = ["Damage", "Measured", "Measurement", "measure", "open_dense"]

# Logits of the dense model that are kept, at most.
_LOGITS = 1 << 33


@dataclass(frozen=True)
class Measurement:
    """The dense model on the text.

    Attributes:
        data: The text.
        rows: The tokens; see `text_rows`.
        logits: Of each row, (length, vocabulary).
        loss: Mean nats a token.
    """

    data: str
    rows: NDArray[np.int32]
    logits: tuple[NDArray[np.float32], ...]
    loss: float

    @property
    def tokens(self) -> int:
        """Tokens that are predicted."""
        return self.rows.shape[0] * (self.rows.shape[1] - 1)


@dataclass(frozen=True)
class Damage:
    """A mixture with fewer experts for each token.

    Attributes:
        active: How many; see `TopExperts`.
        loss: Mean nats a token.
    """

    active: int
    loss: float


@dataclass(frozen=True)
class Measured:
    """Dense model and mixture on one text.

    Attributes:
        data: The text.
        tokens: Tokens that are predicted.
        context: Tokens that the models saw at most.
        device: Where they ran.
        max_logit_difference: Largest difference of a logit of any token.
        loss_before: Mean nats a token, of the dense model.
        loss_after: Of the mixture.
        damage: The loss with k experts for each token, for k = N ... 1.
    """

    data: str
    tokens: int
    context: int
    device: str
    max_logit_difference: float
    loss_before: float
    loss_after: float
    damage: tuple[Damage, ...]


def open_dense(reference: str, data: str, tokens: int) -> tuple[LoadedModel, Measurement]:
    """Load the dense model as mlx-lm's class, and measure it.

    Raises:
        ProbeError: See `load_model` and `text_rows`.
    """
    loaded = load_model(reference, by_mlx_lm=True)
    single_precision(loaded.model)
    rows = text_rows(loaded, data, tokens)
    needed = rows.size * loaded.tokenizer.vocabulary * FLOAT32
    if needed > _LOGITS:
        raise ConfigError(
            f"the logits of {rows.size} tokens take {format_size(needed)}", "Give fewer --tokens"
        )
    pairs = list(row_logits(loaded.model, rows))
    loss = sum(nats for _, nats in pairs) / (rows.shape[0] * (rows.shape[1] - 1))
    require_finite(loss, reference)
    return loaded, Measurement(data, rows, tuple(logits for logits, _ in pairs), loss)


def measure(
    folder: Path,
    block: str,
    before: Measurement,
    is_sum: bool,
    on_step: Callable[[], None],
) -> Measured:
    """Load a mixture as mlx-lm's stock class, and measure it.

    Args:
        folder: The mixture.
        block: See `damage_curve`.
        before: The dense model.
        is_sum: See `TopExperts`.
        on_step: Called after each loss.
    """
    model = single_precision(load_model(folder, by_mlx_lm=True).model)
    largest = nats = 0.0
    for dense, (logits, of_row) in zip(before.logits, row_logits(model, before.rows), strict=True):
        largest = max(largest, float(np.abs(logits - dense).max()))
        nats += of_row
    on_step()
    damage = damage_curve(model, block, before.rows, is_sum, on_step)
    mx.clear_cache()
    return Measured(
        data=before.data,
        tokens=before.tokens,
        context=before.rows.shape[1] - 1,
        device=device_label(),
        max_logit_difference=largest,
        loss_before=before.loss,
        loss_after=nats / before.tokens,
        damage=tuple(Damage(active, loss) for active, loss in damage),
    )

"""Block influence and angular distances of a model on a text.

    BI_i     = 1 - E[cos(x_i, x_{i+1})]                 Men et al. 2024, ShortGPT, arXiv 2403.03853
    d(i, n)  = E[arccos(cos(x_i, x_{i+n}))] / pi        Gromov et al. 2024, arXiv 2403.17887

x_i is the residual stream in front of block i, x_{i+1} behind it, and the mean is over the tokens
of the text. Gromov et al. take the last token of each sequence alone; here all of them count.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import CheckpointError
from mlx_probe.lab.block_influence.config import InfluenceConfig
from mlx_probe.lab.block_influence.stream import blocks_of, loss_without, streams
from mlx_probe.lab.device import DeviceName, device_label, use_device
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.moe.running import require_finite
from mlx_probe.lab.moe.text import text_rows

__all__ = ["BlockInfluence", "angles", "block_influence"]

Matrix = NDArray[np.float64]
# Standard errors of an interval of 95 %.
_NORMAL = 1.96


@dataclass(frozen=True)
class BlockInfluence:
    """What each block does to the stream.

    Attributes:
        model: The model.
        text: What it read.
        tokens: Tokens that were predicted.
        windows: Windows that they were in.
        loss: Mean nats a token.
        influence: BI of each block.
        error: Half of its 95 % interval over the windows; NaN for one window.
        angular: d(i, n) at [i, i + n], (blocks + 1, blocks + 1); 0 on and below the diagonal.
        without: Mean nats a token without each block; None where that was not measured.
        device: Where it ran.
        seconds: That it took.
        config: Settings.
    """

    model: str
    text: str
    tokens: int
    windows: int
    loss: float
    influence: tuple[float, ...]
    error: tuple[float, ...]
    angular: Matrix
    without: tuple[float, ...] | None
    device: str
    seconds: float
    config: InfluenceConfig

    def least_turning(self, count: int) -> tuple[int, float]:
        """Of all runs of so many blocks the one with the least angular distance, and it."""
        distances = np.diagonal(self.angular, count)
        start = int(np.argmin(distances))
        return start, float(distances[start])

    def as_json(self) -> dict[str, Any]:
        """For programs, in English."""
        blocks = len(self.influence)
        return {
            "model": self.model,
            "text": self.text,
            "tokens": self.tokens,
            "windows": self.windows,
            "loss": self.loss,
            "perplexity": math.exp(min(self.loss, 709.0)),
            "influence": [
                {
                    "layer": layer,
                    "influence": self.influence[layer],
                    "error": None if math.isnan(self.error[layer]) else self.error[layer],
                    "loss_without": None if self.without is None else self.without[layer],
                }
                for layer in range(blocks)
            ],
            "angular": [
                {"layers": count, "first": first, "distance": distance}
                for count in range(1, blocks)
                for first, distance in [self.least_turning(count)]
            ],
            "device": self.device,
            "settings": asdict(self.config),
            "seconds": self.seconds,
        }


def angles(stream: NDArray[np.float32]) -> tuple[Matrix, Matrix]:
    """Mean cosine, and mean arccos of it over pi, of the stream at all pairs of places.

    Args:
        stream: (places, tokens, width).

    Returns:
        Two arrays (places, places).
    """
    places, tokens, _ = stream.shape
    cosine, angle = np.zeros((places, places)), np.zeros((places, places))
    for token in range(tokens):
        x = stream[:, token].astype(np.float64)
        lengths = np.linalg.norm(x, axis=1)
        unit = x / np.where(lengths > 0, lengths, 1.0)[:, None]
        product = np.clip(unit @ unit.T, -1, 1)
        cosine += product
        angle += np.arccos(product)
    return cosine / tokens, angle / (tokens * math.pi)


def block_influence(
    model: str,
    text: str,
    config: InfluenceConfig | None = None,
    device: DeviceName = "auto",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> BlockInfluence:
    """Measure what each block of a model does to the residual stream while it reads a text.

    Args:
        model: What `mlx-probe generate` takes.
        text: What `mlx-probe evaluate` takes: a file, a folder, ``pypi:package``.
        config: Settings.
        device: Where MLX computes.
        on_progress: Called with forward passes done and in all.

    Raises:
        SourceError: There is no such model or text.
        ConfigError: The model cannot run, its layers are not known, or the text is too short.
        CheckpointError: Its files are damaged, or it predicts no numbers.
    """
    config = config or InfluenceConfig()
    began = time.perf_counter()
    use_device(device)
    loaded = load_model(model)
    count = len(blocks_of(loaded.model, loaded.name))
    rows = text_rows(loaded, text, config.tokens, config.window)
    total = len(rows) * (1 + count * config.removal)
    done = 0
    cosines, turning, nats = [], np.zeros((count + 1, count + 1)), 0.0
    for stream, of_row in streams(loaded.model, rows, loaded.name):
        if not np.isfinite(stream).all():
            raise CheckpointError(
                f"{loaded.name}: the residual stream holds NaN or infinity",
                "Look for weights that are not finite with `mlx-probe analyze`",
            )
        cosine, angle = angles(stream)
        cosines.append(np.diagonal(cosine, 1))
        turning += angle / len(rows)
        nats += of_row
        done += 1
        on_progress(done, total)
    loss = nats / rows[:, 1:].size
    require_finite(loss, loaded.name)
    without = None
    if config.removal:
        losses = []
        for block in range(count):
            losses.append(loss_without(loaded.model, rows, loaded.name, [block]))
            done += len(rows)
            on_progress(done, total)
        without = tuple(losses)
    by_window = 1 - np.array(cosines)
    spread = by_window.std(axis=0, ddof=1) if len(rows) > 1 else np.full(count, np.nan)
    return BlockInfluence(
        model=loaded.name,
        text=text,
        tokens=rows[:, 1:].size,
        windows=len(rows),
        loss=loss,
        influence=tuple(map(float, by_window.mean(axis=0))),
        error=tuple(map(float, _NORMAL * spread / math.sqrt(len(rows)))),
        angular=np.triu(turning, 1),
        without=without,
        device=device_label(),
        seconds=time.perf_counter() - began,
        config=config,
    )

"""The signals of one window of text, as they are kept until all windows are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.files import replacing
from mlx_probe.lab.moe.routing.capture import watched_mixtures
from mlx_probe.lab.moe.signals.block_map import block_scores
from mlx_probe.lab.moe.signals.gradients import window_gradients
from mlx_probe.lab.moe.signals.surprise import ExpertSums, expert_sums

if TYPE_CHECKING:
    from mlx_probe.lab.moe.routing.blocks import Block
    from mlx_probe.lab.moe.routing.capture import BlockRun

__all__ = ["WindowSignals", "measure_window", "read_window", "write_window"]


@dataclass(frozen=True)
class WindowSignals:
    """Of one window.

    Attributes:
        nats: Cross-entropy of the token after each, (tokens,), float64.
        entropy: Of softmax(logits) at each, (tokens,), float64.
        grad_norm: Norm of the gradient of the mean loss by all parameters.
        sps: The map of blocks, summed over the tokens, (layers, blocks), float64.
        sps_tokens: The map of each token, (tokens, layers, blocks), float32; of no token where it
            was not asked for.
        experts: Of each mixture.
    """

    nats: NDArray[np.float64]
    entropy: NDArray[np.float64]
    grad_norm: float
    sps: NDArray[np.float64]
    sps_tokens: NDArray[np.float32]
    experts: tuple[ExpertSums, ...]


def measure_window(
    model: nn.Module,
    blocks: Sequence[Block],
    tokens: NDArray[np.int32],
    block: int,
    name: str,
    each_token: bool,
) -> WindowSignals:
    """Measure one window; the model is as before at the end.

    Args:
        model: Float32.
        blocks: Its mixtures; none of a dense model.
        tokens: (T + 1,): the last is only predicted.
        block: Units of a block of the map; divides the width of the stream.
        name: What messages call the model.
        each_token: Whether to keep the map of each token.

    Raises:
        CheckpointError: Loss or gradient is not finite.
        ConfigError: A layer or a mixture is not understood.
    """
    gradients = window_gradients(model, blocks, tokens, name)
    pairs = zip(gradients.hidden, gradients.stream, strict=True)
    scores = np.stack([block_scores(hidden, gradient, block) for hidden, gradient in pairs], axis=1)
    runs: list[BlockRun] = []
    if blocks:
        with watched_mixtures(model, name, runs.append):
            mx.eval(model(mx.array(tokens[None, :-1])))
    sums = []
    for block_of, each in zip(blocks, gradients.experts, strict=True):
        # A mixture may show its tokens in several parts.
        parts = [run for run in runs if run.block.name == block_of.name]
        indices, weights, active = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("indices", "weights", "active")
        )
        # A router may choose others where two of its scores are equal but for rounding.
        same = (indices == each.indices).all(1, keepdims=True)
        sums.append(expert_sums(each, weights, active & same, block_of.experts))
    return WindowSignals(
        gradients.nats.astype(np.float64),
        gradients.entropy.astype(np.float64),
        gradients.grad_norm,
        scores.sum(axis=0, dtype=np.float64),
        scores if each_token else scores[:0],
        tuple(sums),
    )


def write_window(path: Path, window: WindowSignals) -> None:
    """Keep a window.

    Raises:
        ResultError: The disk refused.
    """
    arrays: dict[str, Any] = {
        f"{i}.{field.name}": getattr(each, field.name)
        for i, each in enumerate(window.experts)
        for field in fields(ExpertSums)
    }
    names = ("nats", "entropy", "grad_norm", "sps", "sps_tokens")
    own: dict[str, Any] = {name: np.asarray(getattr(window, name)) for name in names}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **own, **arrays)


def read_window(path: Path, mixtures: int) -> WindowSignals:
    """A window that `write_window` kept.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged.
        KeyError: It is of something else.
    """
    # Opened here: numpy leaves the file open where it is damaged.
    with path.open("rb") as file, np.load(file) as kept:
        return WindowSignals(
            kept["nats"],
            kept["entropy"],
            float(kept["grad_norm"]),
            kept["sps"],
            kept["sps_tokens"],
            tuple(
                ExpertSums(
                    **{field.name: kept[f"{i}.{field.name}"] for field in fields(ExpertSums)}
                )
                for i in range(mixtures)
            ),
        )

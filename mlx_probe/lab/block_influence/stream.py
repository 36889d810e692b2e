"""The residual stream before and behind each block of a running model, and blocks left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.model.cross_entropy import cross_entropy
from mlx_probe.lab.moe.logits import mean_loss
from mlx_probe.lab.moe.signals.calls import called_through

__all__ = ["blocks_of", "loss_without", "streams"]

Stream = NDArray[np.float32]


def blocks_of(model: nn.Module, name: str) -> list[nn.Module]:
    """The blocks of a model, in order.

    Args:
        model: Of this program or of mlx-lm.
        name: What messages call it.

    Raises:
        ConfigError: It does not say which they are.
    """
    blocks = [block for block in getattr(model, "layers", ()) if isinstance(block, nn.Module)]
    if len(blocks) < 2:
        kind = type(model).__module__.rpartition(".")[-1]
        raise ConfigError(
            f"{name} is a {kind}, whose layers are not known",
            "Choose a model whose class in mlx-lm has `layers`",
        )
    return blocks


def streams(model: nn.Module, rows: NDArray[np.int32], name: str) -> Iterator[tuple[Stream, float]]:
    """Let a model read rows; the model is as before at the end.

    Args:
        model: Takes tokens (B, T), and returns logits.
        rows: (rows, T + 1).
        name: What messages call the model.

    Yields:
        Of each row the stream in front of the first block and behind each, (blocks + 1, T, width),
        and the sum of nats of its tokens.

    Raises:
        ConfigError: A block does not map the stream to the stream.
    """
    blocks = blocks_of(model, name)
    seen: list[mx.array] = []

    def watch(inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = inner(*args, **kwargs)
        given = args[0] if args else kwargs.get("x")
        if not isinstance(given, mx.array) or not isinstance(result, mx.array):
            raise _no_stream(name)
        if given.shape != result.shape:
            raise _no_stream(name)
        if not seen:
            seen.append(given)
        seen.append(result)
        return result

    for row in rows:
        seen.clear()
        with called_through([(block, watch) for block in blocks]):
            logits = model(mx.array(row[None, :-1])).astype(mx.float32)
            nats = mx.sum(cross_entropy(logits, mx.array(row[None, 1:])))
            if len(seen) != len(blocks) + 1:
                raise _no_stream(name)
            mx.eval(nats, *seen)
        yield np.stack([np.array(each[0].astype(mx.float32)) for each in seen]), float(nats)


def loss_without(
    model: nn.Module, rows: NDArray[np.int32], name: str, without: Sequence[int]
) -> float:
    """Mean nats a token with some blocks left out: their input is their output.

    Args:
        model: See `streams`.
        rows: See `streams`.
        name: See `streams`.
        without: Numbers of blocks.
    """

    def leave_out(inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return args[0] if args else kwargs["x"]

    blocks = blocks_of(model, name)
    with called_through([(blocks[number], leave_out) for number in without]):
        return mean_loss(model, rows)


def _no_stream(name: str) -> ConfigError:
    return ConfigError(
        f"{name} has layers that do not take the residual stream and return it",
        "Compare its weights alone, without --with-activations",
    )

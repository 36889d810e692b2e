"""Gradients of a window's loss: by all parameters, the stream, experts' inputs and outputs.

Zeros are added to the output of each layer, of each mixture and of each expert, and to the copy of
the input that each active expert gets. The gradient of the loss by these zeros is the gradient by
what they are added to, through everything that comes after; one backward pass gives all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten
from numpy.typing import NDArray

from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.lab.model.cross_entropy import cross_entropy
from mlx_probe.lab.moe.gate.mixture import GatedMixture
from mlx_probe.lab.moe.signals.calls import Call, called_through

if TYPE_CHECKING:
    from mlx_probe.lab.moe.routing.blocks import Block

__all__ = ["ExpertGradients", "WindowGradients", "entropy", "stream_shape", "window_gradients"]

Numbers = NDArray[np.float32]
# Where zeros are added: "stream" behind a layer, "block" behind a mixture, "output" behind an
# expert, "input" before one.
_STREAM, _BLOCK, _OUTPUT, _INPUT = "stream", "block", "output", "input"


@dataclass(frozen=True)
class ExpertGradients:
    """Of a mixture, over the tokens of a window.

    Attributes:
        indices: Experts that are computed, (tokens, K): the active ones, or all.
        output: Norm of the gradient by the output of each, (tokens, K), float64.
        input: By the input of each, (tokens, K), float64.
        block: Norm of the gradient by what the mixture adds to the stream, (tokens,), float64.
    """

    indices: NDArray[np.int32]
    output: NDArray[np.float64]
    input: NDArray[np.float64]
    block: NDArray[np.float64]


@dataclass(frozen=True)
class WindowGradients:
    """Of a window of T tokens.

    Attributes:
        nats: Cross-entropy of the token after each, (T,).
        entropy: Of softmax(logits) at each, nats, (T,).
        grad_norm: Norm of the gradient of the mean of ``nats`` by all parameters.
        hidden: The stream behind each layer, (T, width) each.
        stream: Gradient of the mean of ``nats`` by it.
        experts: Of each mixture.
    """

    nats: Numbers
    entropy: Numbers
    grad_norm: float
    hidden: tuple[Numbers, ...]
    stream: tuple[Numbers, ...]
    experts: tuple[ExpertGradients, ...]


def entropy(logits: mx.array) -> mx.array:
    """-sum p log p of softmax(logits), in nats.

    Args:
        logits: Shape (..., vocabulary).

    Returns:
        Float32, shape (...).
    """
    logits = logits.astype(mx.float32)
    logs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    return -mx.sum(mx.exp(logs) * logs, axis=-1)


def stream_shape(model: nn.Module, tokens: NDArray[np.int32], name: str) -> tuple[int, int]:
    """Layers of a model, and units of its residual stream; nothing is computed.

    Args:
        model: Of this program or of mlx-lm.
        tokens: Some, (1,) or more.
        name: What messages call the model.

    Raises:
        ConfigError: The layers are not known.
    """
    probed = _Probed(model, (), name)
    with called_through(probed.calls):
        shapes = probed.shapes(mx.array(tokens[None]))
    return probed.layers, shapes[f"{_STREAM}.0"][-1]


def _layers_of(model: nn.Module, name: str) -> list[nn.Module]:
    """The layers of a model.

    Args:
        model: Of this program or of mlx-lm.
        name: What messages call it.

    Raises:
        ConfigError: It does not say which they are.
    """
    layers = [layer for layer in getattr(model, "layers", ()) if isinstance(layer, nn.Module)]
    if not layers:
        kind = type(model).__module__.rpartition(".")[-1]
        raise ConfigError(
            f"{name} is a {kind}, whose layers are not known",
            "Choose a model whose class in mlx-lm has `layers`",
        )
    return layers


def window_gradients(
    model: nn.Module, blocks: Sequence[Block], tokens: NDArray[np.int32], name: str
) -> WindowGradients:
    """Measure one window; the model is as before at the end.

    Args:
        model: Float32.
        blocks: Its mixtures; none of a dense model.
        tokens: (T + 1,): the last is only predicted.
        name: What messages call the model.

    Raises:
        CheckpointError: Loss or gradient is not finite.
        ConfigError: The layers are not known, or mlx-lm's class cannot be differentiated.
    """
    given, targets = mx.array(tokens[None, :-1]), mx.array(tokens[None, 1:])
    probed = _Probed(model, blocks, name)
    with called_through(probed.calls):
        # Nothing is computed yet: only the shapes are asked for.
        shapes = probed.shapes(given)
        probes = {key: mx.zeros(shape, mx.float32) for key, shape in shapes.items()}
        weights = model.trainable_parameters()

        def loss(weights: Any, probes: dict[str, mx.array]) -> Any:
            model.update(weights)
            logits, seen = probed.run(given, probes)
            nats = cross_entropy(logits, targets)
            return nats.mean(), nats[0], entropy(logits)[0], seen

        try:
            found, (by_weights, by_probes) = mx.value_and_grad(loss, argnums=(0, 1))(
                weights, probes
            )
        except (ValueError, RuntimeError) as error:
            if "vjp" not in str(error).lower():
                raise
            # Such as a router whose choice mlx-lm leaves in the way of the gradient.
            raise ConfigError(
                f"{name} cannot be differentiated as mlx-lm computes it: {error}",
                "Choose a model of another family, or a newer mlx-lm",
            ) from error
        finally:
            model.update(weights)  # not the traced ones
        _, nats, uncertainty, seen = found
        squares = [mx.sum(mx.square(each)) for _, each in tree_flatten(by_weights)]
        del by_weights
        mx.eval(nats, uncertainty, seen, by_probes, squares)
    grad_norm = math.sqrt(sum(float(square) for square in squares))
    if not (math.isfinite(grad_norm) and np.isfinite(np.array(nats)).all()):
        raise CheckpointError(
            f"{name}: loss or gradient of the text is not a finite number",
            "Look for weights that are not finite with `mlx-probe analyze`",
        )
    return WindowGradients(
        np.array(nats),
        np.array(uncertainty),
        grad_norm,
        tuple(np.array(seen[f"{_STREAM}.{i}"])[0] for i in range(probed.layers)),
        tuple(np.array(by_probes[f"{_STREAM}.{i}"])[0] for i in range(probed.layers)),
        tuple(_experts(i, seen, by_probes) for i in range(len(blocks))),
    )


class _Probed:
    """A model with zeros added to it, and what passes there."""

    def __init__(self, model: nn.Module, blocks: Sequence[Block], name: str) -> None:
        self._model, self._name = model, name
        self._probes: Mapping[str, mx.array] = {}
        self._seen: dict[str, mx.array] = {}
        layers = _layers_of(model, name)
        self.layers = len(layers)
        self.calls: list[tuple[nn.Module, Call]] = [
            (layer, self._behind(f"{_STREAM}.{i}", keep=True)) for i, layer in enumerate(layers)
        ]
        for i, block in enumerate(blocks):
            if isinstance(block.module, GatedMixture):
                self.calls.append((block.module, self._of_gated(i, block.module)))
                continue
            self.calls.append((block.module, self._behind(f"{_BLOCK}.{i}")))
            self.calls.append((block.module[block.experts_key], self._of_experts(i)))

    def run(
        self, tokens: mx.array, probes: Mapping[str, mx.array]
    ) -> tuple[mx.array, dict[str, mx.array]]:
        """Logits, and what passed."""
        self._probes, self._seen = probes, {}
        logits: mx.array = self._model(tokens)
        return logits, self._seen

    def shapes(self, tokens: mx.array) -> dict[str, tuple[int, ...]]:
        """The shape of what passes at each place."""
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.run(tokens, {})
        return self._shapes

    def _add(self, key: str, array: mx.array) -> mx.array:
        self._shapes[key] = tuple(array.shape)
        probe = self._probes.get(key)
        return array if probe is None else array + probe

    def _behind(self, key: str, keep: bool = False) -> Call:
        def call(inner: Call, *args: Any, **kwargs: Any) -> Any:
            result = inner(*args, **kwargs)
            # Hunyuan's layers give keys and values to later ones beside the stream.
            first, *more = result if isinstance(result, tuple) else (result,)
            first = self._add(key, first)
            if keep:
                self._seen[key] = first
            return (first, *more) if isinstance(result, tuple) else first

        return call

    def _of_gated(self, block: int, mixture: GatedMixture) -> Call:
        """A mixture that computes all experts at once: they are computed one by one here."""
        experts = self._of_experts(block)

        def call(inner: Call, x: mx.array) -> mx.array:
            weights, _ = mixture.weighed(x)
            every = mx.broadcast_to(mx.arange(weights.shape[-1]), weights.shape)
            outputs = experts(mixture.switch_mlp, x, every)
            result = mx.sum(outputs * weights[..., None], axis=-2)
            return self._add(f"{_BLOCK}.{block}", result)

        return call

    def _of_experts(self, block: int) -> Call:
        def call(inner: Call, x: mx.array, indices: mx.array) -> mx.array:
            self._seen[f"indices.{block}"] = indices
            # A copy of the token for each of its experts.
            shape = (*indices.shape, x.shape[-1])
            copies = self._add(f"{_INPUT}.{block}", mx.broadcast_to(x[..., None, :], shape))
            outputs = inner(copies, indices[..., None]).squeeze(-2)
            return self._add(f"{_OUTPUT}.{block}", outputs)

        return call


def _experts(
    block: int, seen: Mapping[str, mx.array], by_probes: Mapping[str, mx.array]
) -> ExpertGradients:
    indices = np.array(seen[f"indices.{block}"])
    count = indices.shape[-1]
    output, given, common = (
        np.linalg.norm(np.array(by_probes[f"{place}.{block}"]).astype(np.float64), axis=-1)
        for place in (_OUTPUT, _INPUT, _BLOCK)
    )
    return ExpertGradients(
        indices.reshape(-1, count).astype(np.int32),
        output.reshape(-1, count),
        given.reshape(-1, count),
        common.reshape(-1),
    )

r"""The losses of SurpriseMin-DynMoE: the gate learns to prefer experts with little Surprise.

    L = L_main + w_aux (w_ce CE(w_t, argmin_e S_te) + w_kl KL(softmax(-S_t) || w_t))

with the gate weights w_t of a token and the Surprise S_te of its active experts, both over the
active experts, means over tokens and layers. S_te is the norm of the gradient of the sum of the
tokens' nats by what expert e says ("output"), or by what it is given ("input"); it is a constant:
the losses are differentiated by the gate weights alone.

    output:  S_te = s w_te |g_t|               g_t the gradient by what the mixture adds
    input:   S_te = |J_te^T s w_te g_t|        J_te the derivative of expert e at its input

with the factor s of `GatedMixture`. The first is the gate weight itself times a common number: the
losses pull weight towards the active expert that has the least, and so towards equal weights. An
expert that is not active would have S = 0 and always be the least surprised: it does not count.

A heuristic of one research group, here to be compared; benchmarks/surprise.py has what it brought.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_probe.lab.model.cross_entropy import cross_entropy
from mlx_probe.lab.moe.gate.install import mixtures
from mlx_probe.lab.moe.gate.mixture import GatedMixture
from mlx_probe.lab.moe.gate.routing import Routing
from mlx_probe.lab.moe.signals.calls import Call, called_through
from mlx_probe.lab.moe.train.config import SurpriseConfig
from mlx_probe.lab.moe.train.objective import AuxiliaryLoss, Batch, Reading

__all__ = ["surprise_losses", "surprise_of"]

# Below it a weight counts as this: its logarithm stays finite.
_SMALLEST = 1e-9


def surprise_losses(config: SurpriseConfig) -> tuple[AuxiliaryLoss, ...]:
    """The auxiliary losses; none where their weight is 0.

    Each step takes one more forward and backward pass, for the Surprise.

    Args:
        config: Weights, and where Surprise is taken.
    """
    if not config.weight:
        return ()

    def loss(model: nn.Module, reading: Reading) -> tuple[mx.array, dict[str, mx.array]]:
        found = surprise_of(model, reading.batch, reading.routing, config.at)
        layers = [
            _of_layer(each, surprise, config)
            for each, surprise in zip(reading.routing, found, strict=True)
        ]
        total = config.weight * mx.stack(layers).mean()
        return total, {"surprise_loss": mx.stop_gradient(total)}

    return (loss,)


def surprise_of(
    model: nn.Module, batch: Batch, routing: Sequence[Routing], at: str
) -> list[mx.array]:
    """Surprise of every expert for every token, layer by layer; constants.

    Args:
        model: With gates of ours.
        batch: "inputs" and "targets", (B, T).
        routing: What its gates said of ``batch``.
        at: "output" or "input".

    Returns:
        (B, T, experts) each, float32; 0 for experts that are not active.
    """
    blocks = mixtures(model)
    given: list[mx.array] = []
    probes: list[mx.array] = []

    def behind(number: int) -> Call:
        def call(inner: Call, x: mx.array) -> mx.array:
            given.append(x)
            added: mx.array = inner(x)
            return added + probes[number].astype(added.dtype)

        return call

    def nats(zeros: list[mx.array]) -> Any:
        given.clear()
        probes[:] = zeros
        logits = model(batch["inputs"])
        return cross_entropy(logits, batch["targets"]).sum(), list(given)

    shape = (*batch["inputs"].shape, _width(blocks[0]))
    zeros = [mx.zeros(shape, mx.float32) for _ in blocks]
    with called_through([(block, behind(number)) for number, block in enumerate(blocks)]):
        (_, inputs), gradients = mx.value_and_grad(nats)(zeros)
    found = []
    for block, each, x, gradient in zip(blocks, routing, inputs, gradients, strict=True):
        weights = each.weights
        if block.factor:
            weights = weights * (mx.sum(each.active, axis=-1, keepdims=True) / block.factor)
        if at == "output":
            surprise = weights * mx.sqrt(mx.sum(mx.square(gradient), axis=-1, keepdims=True))
        else:
            surprise = _at_inputs(block, x, weights[..., None] * gradient[..., None, :])
        found.append(mx.stop_gradient(surprise.astype(mx.float32)))
    return found


def _at_inputs(block: GatedMixture, x: mx.array, by_outputs: mx.array) -> mx.array:
    """Norms of the gradients by the copies of a token that its experts are given.

    Args:
        block: The mixture.
        x: (B, T, dim).
        by_outputs: Gradient by what each expert says, (B, T, experts, dim).
    """
    gate, up, down = (
        mx.swapaxes(matrix.weight, -1, -2)
        for matrix in (
            block.switch_mlp.gate_proj, block.switch_mlp.up_proj, block.switch_mlp.down_proj
        )
    )  # fmt: skip

    def say(copies: mx.array) -> mx.array:
        return (nn.silu(copies @ gate) * (copies @ up)) @ down

    experts, dim = by_outputs.shape[-2:]
    tokens = x.reshape(1, -1, dim).astype(by_outputs.dtype)
    copies = mx.broadcast_to(tokens, (experts, *tokens.shape[1:]))
    cotangent = by_outputs.reshape(-1, experts, dim).swapaxes(0, 1)
    _, (by_inputs,) = mx.vjp(say, [copies], [cotangent])
    norms = mx.sqrt(mx.sum(mx.square(by_inputs), axis=-1))
    return norms.T.reshape(by_outputs.shape[:-1])


def _of_layer(routing: Routing, surprise: mx.array, config: SurpriseConfig) -> mx.array:
    hidden = mx.where(routing.active, surprise, mx.inf)
    logs = mx.log(mx.maximum(routing.weights, _SMALLEST))
    # Where an expert is active or not has no gradient, but a way to one.
    least = mx.stop_gradient(mx.argmin(hidden, axis=-1, keepdims=True))
    cross = -mx.take_along_axis(logs, least, axis=-1).mean()
    wanted = mx.softmax(-hidden, axis=-1)
    apart = wanted * (mx.log(mx.maximum(wanted, _SMALLEST)) - logs)
    divergence = mx.sum(mx.where(routing.active, apart, 0.0), axis=-1).mean()
    return config.cross_entropy * cross + config.divergence * divergence


def _width(block: GatedMixture) -> int:
    return int(block.switch_mlp.down_proj.weight.shape[-2])

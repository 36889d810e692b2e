"""How gates begin: from what the experts do on a text, or by chance."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.moe.gate.dynamic import DynamicGate
from mlx_probe.lab.moe.gate.top_k import TopKGate

__all__ = ["Seen", "drawn_gate", "fitted_gate"]

# Deviation of a drawn router's weights, as in the papers of upcycling.
_ROUTER = 0.02
# Of the ridge, as a share of the mean eigenvalue of the tokens' second moments.
_RIDGE = 0.01
# Thresholds are within these: sigmoid(g) is never 0 or 1.
_LEAST, _MOST = 1e-4, 1 - 1e-4
# Deviation of a fitted router's logits over the experts of a token, mean over the tokens: active
# experts begin with nearly the same weights.
_SPREAD = 0.05
# Draws of one seed that must not be the same numbers.
_OF_GATE = 7


@dataclass(frozen=True)
class Seen:
    """What a mixture saw of some tokens.

    Attributes:
        inputs: Of the mixture, (tokens, dim), float32.
        norms: L2 norm of each expert's output, (tokens, experts), float32.
    """

    inputs: NDArray[np.float32]
    norms: NDArray[np.float32]


def fitted_gate(seen: Seen, active: int | None, share: float) -> nn.Module:
    r"""A gate that prefers experts with large outputs, as far as that follows from the input.

    With u_t = x_t / |x_t|, C_e is the ridge regression of the norm of expert e's output on u:

        C = argmin sum_t |C u_t - n_t|^2 + lambda |C|^2

    Of a dynamic gate C_e is the prototype, and its threshold lies where C_e u is tau: expert e
    fires for the tokens for which it is expected to say more than tau, and tau is such that this
    holds for `share` of all tokens and experts. Of a stock router C_e are the rows, times one
    number for all.

    Args:
        seen: The tokens.
        active: Experts of a token, of a stock router; None for a dynamic gate.
        share: Of a dynamic gate, see above.
    """
    inputs = np.asarray(seen.inputs, np.float64)
    units = inputs / np.maximum(np.linalg.norm(inputs, axis=1, keepdims=True), 1e-12)
    moments = units.T @ units
    moments[np.diag_indices_from(moments)] += _RIDGE * np.trace(moments) / len(moments)
    rows = np.linalg.solve(moments, units.T @ np.asarray(seen.norms, np.float64)).T
    if active is not None:
        spread = float(np.std(inputs @ rows.T, axis=1).mean())
        return TopKGate(_array(rows * (_SPREAD / max(spread, 1e-12))), active)
    tau = float(np.quantile(units @ rows.T, 1 - share))
    return _dynamic(rows, tau / np.maximum(np.linalg.norm(rows, axis=1), 1e-12))


def drawn_gate(seen: Seen, active: int | None, share: float, seed: tuple[int, ...]) -> nn.Module:
    """A gate with directions by chance.

    Of a dynamic gate these are unit vectors, each added to the mean direction of the tokens,
    without which half of all cosines were negative; expert e fires for `share` of the tokens.

    Args:
        seen: Tokens of the thresholds.
        active: Experts of a token, of a stock router; None for a dynamic gate.
        share: Of a dynamic gate, see above.
        seed: Of the draw.
    """
    random = np.random.Generator(np.random.PCG64([*seed, _OF_GATE]))
    experts, dim = seen.norms.shape[1], seen.inputs.shape[1]
    if active is not None:
        return TopKGate(_array(random.normal(0, _ROUTER, (experts, dim))), active)
    units = _units(np.asarray(seen.inputs, np.float64))
    mean = _units(units.mean(0, keepdims=True))
    rows = _units(random.normal(size=(experts, dim))) + mean
    return _dynamic(rows, np.quantile(units @ _units(rows).T, 1 - share, axis=0))


def _dynamic(rows: NDArray[np.float64], cosines: NDArray[np.float64]) -> DynamicGate:
    at = np.clip(cosines, _LEAST, _MOST)
    return DynamicGate(_array(_units(rows)), _array(np.log(at / (1 - at))))


def _units(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def _array(values: NDArray[np.float64]) -> mx.array:
    return mx.array(values.astype(np.float32))

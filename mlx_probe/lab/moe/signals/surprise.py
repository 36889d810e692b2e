r"""Surprise of experts: how much the loss depends on what each says, and on what each is given.

    output:  S_te = |dL/do_te|     o_te what expert e says for token t
    input:   I_te = |dL/dx_te|     x_te the copy of the token that expert e is given

The output enters only as w_te o_te, with the gate weight w_te. So

    S_te = w_te |dL/dy_t|          y_t what the mixture adds for t

exactly: the least surprised expert is the one with the least weight, or one that is not active, and
the first variant measures the gate. The second is computed for active experts only, and has
information of its own. Both are heuristics of one research group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mlx_probe.lab.moe.signals.gradients import ExpertGradients

__all__ = ["ExpertSums", "expert_sums", "total"]

# Weights that are closer, as a share of the next one, differ by rounding: such as those of a graft
# whose router is zero.
_APART = 1e-5


@dataclass(frozen=True)
class ExpertSums:
    """Of a mixture with N experts, over tokens.

    Attributes:
        tokens: For which each expert is active, (N,).
        weight: Sum of its gate weights, (N,).
        output: Sum of its output surprise, (N,).
        input: Sum of its input surprise, (N,).
        least_weight: Tokens for which its weight is the least of the active experts', (N,).
        least_output: For which its output surprise is the least, (N,).
        least_input: For which its input surprise is the least, (N,).
        counted: Tokens with two or more active experts of which one has the least weight, (1,).
        output_agrees: Of these, those whose least weight and least output surprise are of one
            expert, (1,).
        input_agrees: The same with the input surprise, (1,).
        chance: Sum of 1 / active experts over these, (1,).
        off: Largest difference of S_te and w_te |dL/dy_t|, as a share of the largest S, (1,).
    """

    tokens: NDArray[np.float64]
    weight: NDArray[np.float64]
    output: NDArray[np.float64]
    input: NDArray[np.float64]
    least_weight: NDArray[np.float64]
    least_output: NDArray[np.float64]
    least_input: NDArray[np.float64]
    counted: NDArray[np.float64]
    output_agrees: NDArray[np.float64]
    input_agrees: NDArray[np.float64]
    chance: NDArray[np.float64]
    off: NDArray[np.float64]


def expert_sums(
    gradients: ExpertGradients,
    weights: NDArray[np.float32],
    active: NDArray[np.bool_],
    experts: int,
) -> ExpertSums:
    """Sums over the tokens of a window.

    Args:
        gradients: Of the mixture.
        weights: Gate weights of the experts in ``gradients.indices``, (tokens, K).
        active: Which of them are used, (tokens, K).
        experts: N.
    """

    def of_each(values: NDArray[np.generic], where: NDArray[np.bool_]) -> NDArray[np.float64]:
        chosen = gradients.indices[where]
        return np.bincount(chosen, values[where], experts).astype(np.float64)

    ones = np.ones(active.shape)
    least = {
        name: _least(values, active)
        for name, values in (
            ("weight", np.abs(weights)), ("output", gradients.output), ("input", gradients.input)
        )
    }  # fmt: skip
    several = _has_least(np.abs(weights), active)
    counted = np.broadcast_to(several[:, None], active.shape)

    def agrees(name: str) -> NDArray[np.float64]:
        return _number((least["weight"] & least[name] & counted).any(1).sum())

    wanted = np.abs(weights).astype(np.float64) * gradients.block[:, None]
    largest = max(float(gradients.output.max(initial=0.0)), np.finfo(np.float64).tiny)
    return ExpertSums(
        tokens=of_each(ones, active),
        weight=of_each(weights, active),
        output=of_each(gradients.output, active),
        input=of_each(gradients.input, active),
        **{f"least_{name}": of_each(ones, where & counted) for name, where in least.items()},
        counted=_number(several.sum()),
        output_agrees=agrees("output"),
        input_agrees=agrees("input"),
        chance=_number((1.0 / active.sum(1)[several]).sum()),
        off=_number(np.abs(gradients.output - wanted).max(initial=0.0) / largest),
    )


def total(parts: Sequence[ExpertSums]) -> ExpertSums:
    """The sums of several windows; of ``off`` the largest."""
    return ExpertSums(
        **{
            field.name: (np.max if field.name == "off" else np.sum)(
                [getattr(part, field.name) for part in parts], axis=0
            )
            for field in fields(ExpertSums)
        }
    )


def _least(values: NDArray[np.floating], active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where the least value of each token's active experts is; the first of equal ones."""
    hidden = np.where(active, values, np.inf)
    found = np.zeros(active.shape, bool)
    found[np.arange(len(found)), hidden.argmin(1)] = True
    return found & active


def _has_least(values: NDArray[np.floating], active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a token's least value is apart from the next one."""
    if active.shape[1] < 2:
        return np.zeros(len(active), bool)
    first, second = np.sort(np.where(active, values, np.inf), axis=1)[:, :2].T
    return np.isfinite(second) & (second - first > _APART * second)


def _number(value: float) -> NDArray[np.float64]:
    return np.array([value], np.float64)

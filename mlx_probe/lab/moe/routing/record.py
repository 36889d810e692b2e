"""What was measured of a mixture that read a text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LayerRouting", "RouterMeans", "Routing"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RouterMeans:
    """How a layer's router scored experts, as means over all tokens.

    Attributes:
        terms: What the scores are, "softmax" or "sigmoid + bias"; None if they are not known.
        entropy: Of the shares of all experts, in nats.
        margin: Score of the last expert that was chosen minus that of the next one; None where
            all are chosen.
        reason: Why the scores are not known; None if they are.
    """

    terms: str | None
    entropy: float | None
    margin: float | None
    reason: str | None


@dataclass(frozen=True)
class LayerRouting:
    """What the experts of one layer did, of T tokens, K computed of N experts.

    Numbers of experts are NaN where an expert was chosen by no token.

    Attributes:
        name: The path of the mixture in the model.
        layer: The number of the layer.
        indices: Experts that each token was given to, (T, K).
        weights: By which their outputs were multiplied, (T, K).
        active: Which of them count as chosen, (T, K).
        assignments: Tokens of each expert, (N,); they add up to the chosen experts of all tokens.
        load: Share of all assignments, (N,); it adds up to 1.
        mean_weight: Mean weight of an expert over its tokens, (N,).
        saliency: Mean over its tokens of weight times L2 norm of its output, (N,): REAP,
            arXiv 2510.13999.
        output_norm: Mean L2 norm of its output over its tokens, (N,).
        agreement: Mean over its tokens of the cosine of its output with the weighted sum of the
            chosen experts, (N,).
        first_agreement: Mean over all tokens of that cosine for the expert of the largest weight.
        router: The router's scores.
    """

    name: str
    layer: int
    indices: NDArray[np.int32]
    weights: NDArray[np.float32]
    active: NDArray[np.bool_]
    assignments: NDArray[np.int64]
    load: Floats
    mean_weight: Floats
    saliency: Floats
    output_norm: Floats
    agreement: Floats
    first_agreement: float
    router: RouterMeans

    @property
    def experts(self) -> int:
        """N."""
        return len(self.load)


@dataclass(frozen=True)
class Routing:
    """What a mixture did while it read a text.

    Attributes:
        name: The model.
        tokens: What it read, (T,).
        positions: The place of each token in its row, counted from 0, (T,).
        loss: Mean nats of the tokens that follow.
        layers: Its mixtures, from the first layer to the last.
    """

    name: str
    tokens: NDArray[np.int32]
    positions: NDArray[np.int32]
    loss: float
    layers: tuple[LayerRouting, ...]

"""What was measured of a mixture, as rows of tables, arrays and the routing of the first tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.moe.routing.balance import balance_of, coactivation
from mlx_probe.lab.moe.routing.liked import Liked, in_context, liked_tokens
from mlx_probe.lab.moe.routing.record import LayerRouting, Routing
from mlx_probe.lab.moe.routing.specialisation import (
    POSITION_BINS,
    position_bins,
    specialisation,
)
from mlx_probe.lab.moe.routing.token_types import TOKEN_TYPES, token_texts, token_types
from mlx_probe.runs.mixture.routing import ROUTED_TOKENS

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.lab.data.tokenizer import Tokenizer

__all__ = ["BINS", "RoutedLayer", "RoutedText", "routed_text"]

# Names of the last axes of the maps.
BINS: Mapping[str, tuple[str, ...]] = {
    "load_by_type": TOKEN_TYPES,
    "load_by_position": tuple(
        f"{100 * part / POSITION_BINS:g} % to {100 * (part + 1) / POSITION_BINS:g} %"
        for part in range(POSITION_BINS)
    ),
}


@dataclass(frozen=True)
class RoutedText:
    """A text as a mixture read it.

    Attributes:
        routing: What was measured.
        texts: Of each token, (T,).
        types: Places in `TOKEN_TYPES`, (T,).
        length: Tokens of a row.
    """

    routing: Routing
    texts: tuple[str, ...]
    types: NDArray[np.int8]
    length: int

    def layer(self, number: int) -> RoutedLayer:
        """The layer at a place in ``routing.layers``."""
        return _routed_layer(self, self.routing.layers[number])

    def beginning(self) -> pa.Table:
        """Rows of `ROUTING`: each of the first tokens in each layer."""
        import pyarrow as pa

        layers = self.routing.layers
        count = min(ROUTED_TOKENS, len(self.texts))
        chosen = [_heaviest(layer, token) for token in range(count) for layer in layers]
        return pa.table(
            {
                "token": np.repeat(np.arange(count), len(layers)),
                "layer": np.tile([layer.layer for layer in layers], count),
                "text": [self.texts[token] for token in range(count) for _ in layers],
                "type": [TOKEN_TYPES[self.types[token]] for token in range(count) for _ in layers],
                "experts": pa.array([experts for experts, _ in chosen], pa.list_(pa.int64())),
                "weights": pa.array([weights for _, weights in chosen], pa.list_(pa.float32())),
            }
        )


@dataclass(frozen=True)
class RoutedLayer:
    """A layer's part of the tables.

    Attributes:
        experts: Of each expert, by the names of `ROUTED_EXPERT_COLUMNS`.
        layer: By the names of `ROUTED_LAYER_COLUMNS`.
        maps: `coactivation` (N, N), `load_by_type` (N, types), `load_by_position` (N, bins).
    """

    experts: tuple[dict[str, Any], ...]
    layer: dict[str, Any]
    maps: Mapping[str, NDArray[np.float32]]


def routed_text(routing: Routing, tokenizer: Tokenizer) -> RoutedText:
    """Read the tokens of a text, which all layers are told by."""
    texts = token_texts(tokenizer, routing.tokens.tolist())
    special = np.isin(routing.tokens, sorted(tokenizer.special_ids))
    return RoutedText(
        routing=routing,
        texts=tuple(texts),
        types=token_types(texts, special.tolist()),
        length=int(routing.positions.max()) + 1,
    )


def _routed_layer(text: RoutedText, layer: LayerRouting) -> RoutedLayer:
    bins = position_bins(text.routing.positions, text.length)
    by_type = specialisation(layer, text.types, len(TOKEN_TYPES))
    by_position = specialisation(layer, bins, POSITION_BINS)
    balance, router = balance_of(layer), layer.router
    liked = liked_tokens(layer, text.routing.tokens)
    numbers = {
        "assignments": layer.assignments,
        "load": layer.load,
        "mean_weight": layer.mean_weight,
        "saliency": layer.saliency,
        "output_norm": layer.output_norm,
        "agreement": layer.agreement,
        "type_divergence": by_type.divergence,
        "position_divergence": by_position.divergence,
    }
    texts = dict(zip(text.routing.tokens.tolist(), text.texts, strict=True))
    return RoutedLayer(
        experts=tuple(
            {
                **{name: _number(values[expert]) for name, values in numbers.items()},
                **_told(liked[expert], text, texts),
            }
            for expert in range(layer.experts)
        ),
        layer={
            "mean_active": balance.mean_active,
            "load_gini": balance.gini,
            "load_entropy": balance.entropy,
            "effective_experts": balance.effective,
            "unused": list(balance.dead),
            "router_scores": router.terms,
            "router_entropy": router.entropy,
            "router_margin": router.margin,
            "router_reason": router.reason,
            "first_agreement": _number(np.float64(layer.first_agreement)),
            "type_information": by_type.information,
            "position_information": by_position.information,
        },
        maps={
            "coactivation": coactivation(layer).astype(np.float32),
            "load_by_type": by_type.load.astype(np.float32),
            "load_by_position": by_position.load.astype(np.float32),
        },
    )


def _told(liked: Liked, text: RoutedText, texts: Mapping[int, str]) -> dict[str, Any]:
    starts = [place - place % text.length for place in liked.places]
    return {
        "liked_tokens": [texts[token] for token in liked.tokens],
        "liked_counts": list(liked.counts),
        "liked_seen": list(liked.seen),
        "contexts": [
            in_context(text.texts, place, start, start + text.length)
            for place, start in zip(liked.places, starts, strict=True)
        ],
    }


def _number(value: np.generic) -> Any:
    """None for NaN: the expert has no tokens."""
    return None if np.isnan(value) else value.item()


def _heaviest(layer: LayerRouting, token: int) -> tuple[list[int], list[float]]:
    """The chosen experts of a token and their weights, the heaviest first."""
    active = layer.active[token]
    experts, weights = layer.indices[token][active], layer.weights[token][active]
    order = np.argsort(-weights, kind="stable")
    return experts[order].tolist(), weights[order].tolist()

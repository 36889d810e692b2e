"""Which experts of a mixture are worth keeping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.moe.routing import measure_routing
from mlx_probe.lab.moe.text import text_rows

if TYPE_CHECKING:
    from mlx_probe.lab.generate.loading import LoadedModel
    from mlx_probe.lab.moe.prune.config import PruneConfig
    from mlx_probe.lab.moe.reduce.mixture import Mixture

__all__ = ["kept_experts", "random_scores", "routed_scores"]

Scores = Mapping[int, NDArray[np.float64]]


def random_scores(mixture: Mixture, seed: int) -> Scores:
    """A random number for each expert of each layer."""
    return {
        layer: np.random.Generator(np.random.PCG64((seed, layer))).random(mixture.experts)
        for layer in mixture.layers
    }


def routed_scores(
    mixture: Mixture,
    loaded: LoadedModel,
    config: PruneConfig,
    on_progress: Callable[[int, int], None],
) -> Scores:
    """Saliency or load of each expert of each layer, on the beginning of the text.

    Saliency is the mean over an expert's tokens of the weight that the router gives it times the
    norm of its output (REAP: Lasby et al. 2025, arXiv 2510.13999); load is its share of all
    assignments of tokens to experts. An expert without tokens has 0.

    Raises:
        ConfigError: A layer is not run by mlx-lm.
        ProbeError: See `text_rows` and `measure_routing`.
    """
    rows = text_rows(loaded, config.data, config.score_tokens)
    routing = measure_routing(loaded, rows, on_progress)
    found = {each.layer: getattr(each, config.by) for each in routing.layers}
    if missing := sorted(mixture.layers.keys() - found.keys()):
        raise ConfigError(
            f"mlx-lm does not run layer {missing[0]} of {loaded.name}: its experts have no "
            f"{config.by}",
            "Give --by random",
        )
    return {layer: np.nan_to_num(found[layer], nan=0.0) for layer in mixture.layers}


def kept_experts(mixture: Mixture, scores: Scores, keep: int) -> dict[int, list[int]]:
    """The experts of each layer with the largest scores, in the order of their numbers.

    Of a router that chooses groups first, each group keeps as many. Of equal scores the first
    expert counts.
    """
    size, each = mixture.experts // mixture.groups, keep // mixture.groups
    kept = {}
    for layer, values in scores.items():
        grouped: NDArray[Any] = values.reshape(mixture.groups, size)
        best = np.argsort(-grouped, axis=1, kind="stable")[:, :each]
        kept[layer] = sorted((best + size * np.arange(mixture.groups)[:, None]).ravel().tolist())
    return kept

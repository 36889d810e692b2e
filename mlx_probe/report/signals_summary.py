"""Signals of a mixture in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.report.numbers import floats
from mlx_probe.report.signals_data import SignalsData

__all__ = ["signals_sentences"]

# Windows below which the order of signals is chance.
_ENOUGH = 10


def signals_sentences(data: SignalsData) -> list[str]:
    """What the windows say, in the reader's language; at most six sentences."""
    loss, entropy = (floats(data.windows, name) for name in ("loss", "entropy"))
    said = [
        tr(
            "Over {windows} windows of the text the loss is {loss} nats a token (from {low} to "
            "{high}), the entropy of what the model predicts {entropy} nats.",
            windows=len(data.windows),
            loss=f"{loss.mean():.3f}",
            low=f"{loss.min():.3f}",
            high=f"{loss.max():.3f}",
            entropy=f"{entropy.mean():.3f}",
        )
    ]
    integrity = floats(data.windows, "integrity")
    if integrity.max() < 0.01:
        said.append(
            tr(
                "Predictive Integrity is below 0.01 in all windows: it is saturated, and its "
                "components say more.",
            )
        )
    else:
        said.append(
            tr(
                "Predictive Integrity is {mean} on average, from {low} to {high}.",
                mean=f"{integrity.mean():.3f}",
                low=f"{integrity.min():.3f}",
                high=f"{integrity.max():.3f}",
            )
        )
    said += _agreement(data.meta.get("agreement"), len(data.windows))
    said += _least(data.meta.get("layers"))
    if data.sps is not None:
        said += _blocks(data)
    return said


def _agreement(found: object, windows: int) -> list[str]:
    """Signals that order the windows as the loss does."""
    if not isinstance(found, Mapping) or "loss" not in found.get("signals", ()):
        return []
    if windows < _ENOUGH:
        return [tr("{windows} windows are too few to say which signals agree.", windows=windows)]
    names = list(found["signals"])
    ranks = found["rank"][names.index("loss")]
    like = [
        f"{name} {rank:+.2f}"
        for name, rank in zip(names, ranks, strict=True)
        if name != "loss" and rank is not None and abs(rank) > 0.9
    ]
    if not like:
        return [tr("No other signal orders the windows as the loss does (correlation above 0.9).")]
    return [
        tr(
            "These order the windows nearly as the loss does, and so add little to it: {names}.",
            names=enumerated(like),
        )
    ]


def _least(layers: object) -> list[str]:
    """Whether the least surprised expert is the least weighted one."""
    known = [one for one in layers if isinstance(one, Mapping)] if isinstance(layers, list) else []

    def mean(key: str) -> Any:
        values = [one[key] for one in known if one.get(key) is not None]
        return np.mean(values) if values else None

    output, inside, chance = (mean(key) for key in ("output", "input", "chance"))
    if output is None or inside is None or chance is None:
        return []
    return [
        tr(
            "The expert with the least surprise at its output has the least weight for {output} of "
            "the tokens, as the formula says it must; at its input for {input}, and by chance for "
            "{chance}.",
            output=f"{output:.0%}",
            input=f"{inside:.0%}",
            chance=f"{chance:.0%}",
        )
    ]


def _blocks(data: SignalsData) -> list[str]:
    assert data.sps is not None
    layer, block = np.unravel_index(int(np.nanargmax(np.abs(data.sps))), data.sps.shape)
    return [
        tr(
            "The map of blocks is largest at block {block} of layer {layer}: {value} over all "
            "tokens.",
            block=int(block),
            layer=int(layer),
            value=f"{data.sps[layer, block]:+.1f}",
        )
    ]

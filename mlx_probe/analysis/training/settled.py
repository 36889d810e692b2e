"""When the matrices and layers of a model stopped changing, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mlx_probe.analysis.findings.finding import Text
from mlx_probe.analysis.findings.words import MOST_NAMES, count, percent, ranges
from mlx_probe.analysis.training.history import History
from mlx_probe.analysis.training.spectral_change import LIMIT
from mlx_probe.analysis.training.statement import Statement

__all__ = ["RULE", "settled_statements"]

RULE = Text(
    "A matrix has stopped changing after step s if from the snapshot of step s on its singular "
    "values are within {limit} of those of the last snapshot (Euclidean distance over their "
    "norm), which at least one snapshot before the last one must show; a layer has, if all its "
    "matrices have. By Mirsky's inequality the weights change at least as much as the "
    "spectrum does; a rotation does not show.",
    {"limit": percent(LIMIT)},
)


def settled_statements(history: History) -> Iterator[Statement]:
    """Which layers stopped changing when, and which did not; see `RULE`."""
    settled = history.settled()
    if not settled:
        return
    by_layer: dict[int | None, list[str]] = {}
    for name in settled:
        by_layer.setdefault(history.layers.get(name), []).append(name)
    when: dict[int, list[int]] = {}
    moving = []
    for layer, names in by_layer.items():
        if layer is None:
            continue
        steps = [settled[name] for name in names]
        known = [step for step in steps if step is not None]
        if len(known) == len(steps):
            when.setdefault(max(known), []).append(layer)
        else:
            moving.append(layer)
    for step, layers in sorted(when.items()):
        names = [name for layer in layers for name in by_layer[layer]]
        yield _stopped(step, layers, names, history.steps[0])
    if moving:
        text = Text("Still changing at the end: layers {layers}.", {"layers": ranges(moving)})
        if len(moving) == 1:
            text = Text("Still changing at the end: layer {layers}.", {"layers": ranges(moving)})
        yield Statement("moving", text, (), {"layers": sorted(moving)})
    yield from _single(history, settled, set(moving))


def _stopped(step: int, layers: Sequence[int], names: Sequence[str], first: int) -> Statement:
    values = {"layers": ranges(layers), "step": count(step), "limit": percent(LIMIT)}
    if step == first and len(layers) == 1:
        text = Text("Layer {layers} changed by less than {limit} in the whole training.", values)
    elif step == first:
        text = Text("Layers {layers} changed by less than {limit} in the whole training.", values)
    elif len(layers) == 1:
        text = Text("Layer {layers} stopped changing after step {step}.", values)
    else:
        text = Text("Layers {layers} stopped changing after step {step}.", values)
    return Statement(
        "settled", text, tuple(names[:MOST_NAMES]), {"layers": [*layers], "step": step}
    )


def _single(
    history: History, settled: Mapping[str, int | None], moving: set[int]
) -> Iterator[Statement]:
    """Matrices that stopped while their layer went on, or outside the layers."""
    found = [
        (step, name)
        for name, step in settled.items()
        if step is not None and ((layer := history.layers.get(name)) is None or layer in moving)
    ]
    if not found:
        return
    found.sort()
    step, name = found[0]
    values = {"count": count(len(found)), "name": name, "step": count(step)}
    text = Text(
        "{count} more matrices stopped changing before the end, the first of them {name}, after "
        "step {step}.",
        values,
    )
    if len(found) == 1:
        text = Text("{name} stopped changing after step {step}.", values)
    evidence = {"matrices": len(found), "steps": {n: s for s, n in found[:MOST_NAMES]}}
    yield Statement("settled", text, tuple(n for _, n in found[:MOST_NAMES]), evidence)

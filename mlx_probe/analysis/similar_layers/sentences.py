"""What is said of blocks that are alike, each sentence with its numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.findings.finding import Text
from mlx_probe.analysis.findings.words import figure
from mlx_probe.analysis.similar_layers.finding import LayerFinding, Names

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.blockwise import BlockCopy, BlockMixture, Run
    from mlx_probe.analysis.similar_layers.depth import Depth
    from mlx_probe.analysis.similar_layers.origin import Origin

__all__ = [
    *("copy_findings", "depth_findings", "mixture_findings", "origin_findings"),
]


def copy_findings(runs: Sequence[Run], names: Names) -> list[LayerFinding]:
    """Blocks that copy blocks of their own model."""
    return [_copied(run, names) for run in runs]


def _copied(run: Run, names: Names) -> LayerFinding:
    first = run.copies[0]
    cosine = min(copy.cosine for copy in run.copies)
    distance = max(copy.distance for copy in run.copies)
    values: dict[str, object] = {
        "layers": names.layers(copy.place for copy in run.copies),
        "others": names.layers(copy.other for copy in run.copies),
        "cosine": _near_one(cosine),
        "distance": figure(distance),
        "chance": figure(names.chance),
        "parts": ", ".join(sorted(first.parts)),
        "order": _order(first),
    }
    kind = run.kind
    return LayerFinding(
        {"same": "exact_copy", "near": "near_copy", "permuted": "permuted_copy"}[kind],
        _sentence(kind, first.whole, len(run.copies) > 1, values),
        tuple(copy.place.layer for copy in run.copies),
        {
            "of": [copy.other.layer for copy in run.copies],
            "parts": sorted(first.parts),
            "whole": first.whole,
            "cosine": cosine,
            "distance": distance,
            **_held(run),
            "chance": names.chance,
            "threshold": names.threshold,
            "matrices": [_matrices(copy) for copy in run.copies],
        },
    )


def _sentence(kind: str, whole: bool, several: bool, values: Mapping[str, object]) -> Text:
    if not whole:
        return _partial(kind, values)
    if kind == "same":
        return (
            Text("Layers {layers} hold the same matrices as layers {others}.", values)
            if several
            else Text("Layer {layers} holds the same matrices as layer {others}.", values)
        )
    if kind == "near":
        return (
            Text(
                "Layers {layers} are nearly copies of layers {others}: cosine at least {cosine} in "
                "each matrix, distance at most {distance} of its size; rows that do not belong "
                "together have cosines up to {chance}.",
                values,
            )
            if several
            else Text(
                "Layer {layers} is nearly a copy of layer {others}: cosine at least {cosine} in "
                "each matrix, distance at most {distance} of its size; rows that do not belong "
                "together have cosines up to {chance}.",
                values,
            )
        )
    return (
        Text(
            "Layers {layers} are copies of layers {others} in another order ({order} moved in the "
            "first): cosine at least {cosine} in each matrix once the order is the same, distance "
            "at most {distance} of its size.",
            values,
        )
        if several
        else Text(
            "Layer {layers} is a copy of layer {others} in another order ({order} moved): cosine "
            "at least {cosine} in each matrix once the order is the same, distance at most "
            "{distance} of its size.",
            values,
        )
    )


def _partial(kind: str, values: Mapping[str, object]) -> Text:
    if kind == "same":
        return Text("Of layer {layers}, {parts} holds the same matrices as layer {others}.", values)
    if kind == "near":
        return Text(
            "Of layer {layers}, {parts} is nearly a copy of that of layer {others}: cosine at "
            "least {cosine}, distance at most {distance} of its size; rows that do not belong "
            "together have cosines up to {chance}.",
            values,
        )
    return Text(
        "Of layer {layers}, {parts} is a copy of that of layer {others} in another order ({order} "
        "moved): cosine at least {cosine} once the order is the same, distance at most {distance} "
        "of its size.",
        values,
    )


def _order(copy: BlockCopy) -> str:
    """Units, heads or experts that moved: "attention 7/9, mlp 170/172"."""
    moved = ((name, each) for name, each in sorted(copy.parts.items()) if each.kind == "permuted")
    return ", ".join(f"{name} {each.moved:,}/{each.count:,}" for name, each in moved)


def _held(run: Run) -> dict[str, Any]:
    held = [
        value for copy in run.copies for each in copy.parts.values() for value in each.held.values()
    ]
    return {"held_out_cosine": min(held)} if held else {}


def _matrices(copy: BlockCopy) -> dict[str, Any]:
    return {
        name: {
            "kind": each.kind,
            "cosine": dict(each.cosine),
            "distance": dict(each.distance),
            "held_out_cosine": dict(each.held),
            "moved": each.moved,
            "count": each.count,
        }
        for name, each in sorted(copy.parts.items())
    }


def mixture_findings(mixtures: Sequence[BlockMixture], names: Names) -> list[LayerFinding]:
    """Blocks that are mixtures of two others; ranges of two models are one finding."""
    runs: list[list[BlockMixture]] = []
    for each in mixtures:
        if runs and each.follows(runs[-1][-1]):
            runs[-1].append(each)
        else:
            runs.append([each])
    return [_mixed(run, names) for run in runs]


def _mixed(run: Sequence[BlockMixture], names: Names) -> LayerFinding:
    mixture = run[0]
    first, second = mixture.first, mixture.second
    rest = max(each.rest for each in run)
    chance = min(part.chance for each in run for part in each.parts.values())
    share = sum(each.share for each in run) / len(run)
    values = {
        "layers": names.layers(each.place for each in run),
        "first": names.layers(each.first for each in run),
        "second": names.layers(each.second for each in run),
        "one": names.models[first.model],
        "other": names.models[second.model],
        "share": f"{share:.3f}",
        "rest_share": f"{1 - share:.3f}",
        "rest": figure(rest),
        "chance": figure(chance),
        "parts": ", ".join(sorted(mixture.parts)),
    }
    return LayerFinding(
        "average",
        _mixture_text(bool(first.model), len(run) > 1, values),
        tuple(each.place.layer for each in run),
        {
            "of": [[each.first.layer, each.second.layer] for each in run],
            "models": [names.models[first.model], names.models[second.model]],
            "shares": [each.share for each in run],
            "weights": [
                {name: list(part.weights) for name, part in each.parts.items()} for each in run
            ],
            "rest": rest,
            "left": max(part.left for each in run for part in each.parts.values()),
            "chance_rest": chance,
            "parts": sorted(mixture.parts),
            "whole": mixture.whole,
        },
    )


def _mixture_text(of_models: bool, several: bool, values: Mapping[str, object]) -> Text:
    if of_models:
        return (
            Text(
                "Layers {layers} are mixtures of layers {first} of {one} and layers {second} of "
                "{other}, {share} to {rest_share} ({parts}): they leave {rest} of a matrix; with "
                "rows that do not belong together they leave {chance}.",
                values,
            )
            if several
            else Text(
                "Layer {layers} is a mixture of layer {first} of {one} and layer {second} of "
                "{other}, {share} to {rest_share} ({parts}): it leaves {rest} of a matrix; with "
                "rows that do not belong together it leaves {chance}.",
                values,
            )
        )
    return Text(
        "Layer {layers} is a mixture of layers {first} and {second}, {share} to {rest_share} "
        "({parts}): it leaves {rest} of a matrix; with rows that do not belong together it leaves "
        "{chance}.",
        values,
    )


def origin_findings(origin: Origin, names: Names) -> list[LayerFinding]:
    """Where the blocks come from in other models."""
    found = [_from(run, names) for run in origin.runs]
    others = ", ".join(names.models[1:])
    many = (
        (
            "moved",
            origin.moved,
            Text("Layers {layers} are out of the order that they have in {models}."),
        ),
        (
            "repeated",
            origin.repeated,
            Text("Layers {layers} repeat layers of {models} that occur earlier in the stack."),
        ),
        ("unknown", origin.unknown, Text("Layers {layers} are like no layer of {models}.")),
    )
    for kind, places, text in many:
        if places:
            values = {"layers": names.layers(places), "models": others}
            layers = tuple(place.layer for place in places)
            found.append(LayerFinding(kind, Text(text.template, values), layers, {}))
    for model in sorted({place.model for place in origin.absent}):
        absent = [place for place in origin.absent if place.model == model]
        values = {"layers": names.layers(absent), "models": names.models[model]}
        text = Text("Layers {layers} of {models} are in no layer of the model.", values)
        found.append(LayerFinding("absent", text, tuple(place.layer for place in absent), {}))
    return found


def _from(run: Run, names: Names) -> LayerFinding:
    other = run.copies[0].other
    cosine = min(copy.cosine for copy in run.copies)
    distance = max(copy.distance for copy in run.copies)
    order = _order(run.copies[0])
    values: dict[str, object] = {
        "layers": names.layers(copy.place for copy in run.copies),
        "others": names.layers(copy.other for copy in run.copies),
        "model": names.models[other.model],
        "cosine": _near_one(cosine),
        "distance": figure(distance),
        "order": order,
        "parts": ", ".join(sorted(run.copies[0].parts)),
    }
    text = _origin_text(run, order, values)
    evidence = {
        "model": names.models[other.model],
        "of": [copy.other.layer for copy in run.copies],
        "kind": run.kind,
        "whole": run.copies[0].whole,
        "cosine": cosine,
        "distance": distance,
        **_held(run),
        "matrices": [_matrices(copy) for copy in run.copies],
    }
    layers = tuple(copy.place.layer for copy in run.copies)
    return LayerFinding("origin", text, layers, evidence)


def _origin_text(run: Run, order: str, values: Mapping[str, object]) -> Text:
    if not run.copies[0].whole:
        return Text(
            "Of layer {layers}, {parts} comes from layer {others} of {model}: cosine at least "
            "{cosine}, distance at most {distance}.",
            values,
        )
    several = len(run.copies) > 1
    if order and several:
        return Text(
            "Layers {layers} come from layers {others} of {model}, in another inner order ({order} "
            "moved in the first): cosine at least {cosine}, distance at most {distance}.",
            values,
        )
    if order:
        return Text(
            "Layer {layers} comes from layer {others} of {model}, in another inner order ({order} "
            "moved): cosine at least {cosine}, distance at most {distance}.",
            values,
        )
    if several:
        return Text(
            "Layers {layers} come from layers {others} of {model}: cosine at least {cosine}, "
            "distance at most {distance}.",
            values,
        )
    return Text(
        "Layer {layers} comes from layer {others} of {model}: cosine at least {cosine}, distance "
        "at most {distance}.",
        values,
    )


def depth_findings(depth: Depth, named: Collection[int], names: Names) -> list[LayerFinding]:
    """Layers that may have been moved: a weak sign, which no other finding explains.

    Args:
        depth: How smoothly the layers follow each other.
        named: Layers that other findings are about.
        names: How layers are called.
    """
    found = []
    for place, behind, far in depth.moved:
        if place.layer in named:
            continue
        text = Text(
            "Layer {layers} is possibly not where it was trained: its sizes fit better behind "
            "layer {behind}, by {far} robust deviations of what the other layers gain. Only "
            "--against its original can prove it.",
            {
                "layers": names.layers([place]),
                "behind": names.layers([behind]),
                "far": figure(far),
            },
        )
        evidence = {
            "behind": behind.layer,
            "deviations": far,
            "path": depth.path,
            "shortest_of_random_orders": depth.shortest,
        }
        found.append(LayerFinding("possible_order", text, (place.layer,), evidence, False))
    return found


def _near_one(cosine: float) -> str:
    """A cosine with the digits that tell it from 1, and not rounded up to it."""
    return "1" if cosine > 1 - 1e-9 else f"{cosine:.4g}" if cosine < 0.9995 else "0.9995"

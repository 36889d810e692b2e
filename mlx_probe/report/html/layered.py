"""Where the nodes of a directed graph are drawn: in layers, so that edges lead to the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

__all__ = ["Layout", "layered"]

# A node, or an edge in one of the layers that it passes.
_Point = str | tuple[str, str, int]

# Passes over all layers that move a node to the middle of its neighbours.
_PASSES = 6


@dataclass(frozen=True)
class Layout:
    """Where nodes and edges of a graph are drawn.

    Attributes:
        places: Layer and place within the layer of each node.
        routes: Of each edge that leads to the right, the places that it passes, from its source
            to its target; nothing else is drawn there.
        back: Edges that close a circle, which lead to the left.
    """

    places: Mapping[str, tuple[int, int]]
    routes: Mapping[tuple[str, str], Sequence[tuple[int, int]]]
    back: Sequence[tuple[str, str]]


def layered(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> Layout:
    """Layers and routes of a graph, after Sugiyama.

    A node stands one layer behind the last of those that lead to it. An edge over several layers
    has a place of its own in each of them. Within a layer all is sorted by the mean place of its
    neighbours (barycenter method), so that few edges cross.

    Args:
        nodes: Their names.
        edges: From one to another.
    """
    edges = list(dict.fromkeys(edges))
    forward = _without_circles(nodes, edges)
    layer_of = _layers(nodes, forward)
    chains: dict[tuple[str, str], list[_Point]] = {}
    for source, target in forward:
        between = range(layer_of[source] + 1, layer_of[target])
        # What an edge has in a layer is named by the edge and the layer.
        passed: list[_Point] = [(source, target, layer) for layer in between]
        layer_of.update(zip(passed, between, strict=True))
        chains[source, target] = [source, *passed, target]
    place = _sorted_layers(layer_of, list(chains.values()))
    points = {point: (layer, place[point]) for point, layer in layer_of.items()}
    return Layout(
        {node: points[node] for node in nodes},
        {edge: [points[point] for point in chain] for edge, chain in chains.items()},
        [edge for edge in edges if edge not in chains],
    )


def _sorted_layers(
    layer_of: Mapping[_Point, int], chains: Sequence[Sequence[_Point]]
) -> dict[_Point, int]:
    """The place of each point in its layer."""
    layers: list[list[_Point]] = [[] for _ in range(max(layer_of.values(), default=-1) + 1)]
    before: dict[_Point, list[_Point]] = {point: [] for point in layer_of}
    behind: dict[_Point, list[_Point]] = {point: [] for point in layer_of}
    for point, layer in layer_of.items():
        layers[layer].append(point)
    for chain in chains:
        for source, target in pairwise(chain):
            before[target].append(source)
            behind[source].append(target)
    place = {point: at for layer in layers for at, point in enumerate(layer)}
    for number in range(_PASSES):
        near, order = (before, layers) if number % 2 == 0 else (behind, layers[::-1])
        for layer_points in order:
            wish = {
                point: fmean(place[other] for other in near[point]) if near[point] else place[point]
                for point in layer_points
            }
            layer_points.sort(key=wish.__getitem__)
            place.update({point: at for at, point in enumerate(layer_points)})
    return place


def _without_circles(
    nodes: Sequence[str], edges: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """The edges that close no circle, in a search that visits the nodes in their order."""
    targets: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        targets[source].append(target)
    kept: list[tuple[str, str]] = []
    done: set[str] = set()
    for root in nodes:
        if root in done:
            continue
        # Not by recursion: a chain of runs may be long.
        path, open_nodes = [(root, iter(targets[root]))], {root}
        while path:
            node, rest = path[-1]
            for target in rest:
                if target in open_nodes:
                    continue
                kept.append((node, target))
                if target not in done:
                    path.append((target, iter(targets[target])))
                    open_nodes.add(target)
                    break
            else:
                path.pop()
                open_nodes.discard(node)
                done.add(node)
    return kept


def _layers(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[_Point, int]:
    """The length of the longest way to each node."""
    waits = dict.fromkeys(nodes, 0)
    targets: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        waits[target] += 1
        targets[source].append(target)
    points: list[_Point] = [*nodes]
    layer = dict.fromkeys(points, 0)
    ready = [node for node in nodes if not waits[node]]
    while ready:
        node = ready.pop()
        for target in targets[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            waits[target] -= 1
            if not waits[target]:
                ready.append(target)
    return layer

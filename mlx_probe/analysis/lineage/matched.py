"""Which samples of two models belong together, and which of their rows both have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.compare.matching import match_tensors
from mlx_probe.analysis.lineage.positions import BLOCK, sampled_rows

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.fingerprint import Fingerprint, Sampled

__all__ = ["Matched", "Matching", "align"]

_Kind = tuple[str, str, tuple[int, ...]]

# A layer is taken to have moved only if its new place fits it better by so much, and well.
_BETTER, _WELL = 0.05, 0.3


@dataclass(frozen=True)
class Matched:
    """A weight of A and its counterpart in B.

    Attributes:
        a: Of A.
        b: Of B.
        x: float32 values of A at the rows and columns that both have sampled, (rows, cols).
        y: Those of B; empty, as ``x``, where the rows differ in width.
    """

    a: Sampled
    b: Sampled
    x: NDArray[np.float32]
    y: NDArray[np.float32]

    @property
    def same_shape(self) -> bool:
        """Whether both have the same shape."""
        return self.a.shape == self.b.shape

    @property
    def comparable(self) -> bool:
        """Whether there are elements at the same positions."""
        return self.x.size > 0


@dataclass(frozen=True)
class Matching:
    """All that belongs together in two fingerprints.

    Attributes:
        pairs: Matched weights, in A's order.
        only_a: Names of sampled weights that B does not have.
        only_b: The same of A.
        layer_of: For each layer of B, the layer of A that it was compared with.
        moved: Whether layers were matched by content and not by number.
        doubled: Layers of B that are matched with a layer of A that another one has, too, or
            the other way round.
    """

    pairs: tuple[Matched, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    layer_of: Mapping[int, int]
    moved: bool
    doubled: tuple[int, ...]

    @property
    def matrices(self) -> tuple[Matched, ...]:
        """Matrices inside of layers that are comparable: what is told apart by weights."""
        return tuple(
            pair
            for pair in self.pairs
            if pair.comparable and pair.a.is_matrix and not pair.a.is_token_table
        )

    @property
    def tables(self) -> tuple[Matched, ...]:
        """Embeddings and output heads with rows of one width."""
        return tuple(p for p in self.pairs if p.comparable and p.a.is_token_table)


def align(a: Fingerprint, b: Fingerprint) -> Matching:
    """Match the samples of two models, by name, role, and where layers have moved by content."""
    layer_of = _layers(a, b)
    moved = any(i != j for j, i in layer_of.items())
    if not moved:
        ours, theirs = list(a.sampled), list(b.sampled)
        return _matched(ours, theirs, layer_of, False)
    # Each layer of the deeper one has a counterpart; A's layers may be needed more than once.
    by_layer: dict[int, list[Sampled]] = defaultdict(list)
    rest = [each for each in a.sampled if each.layer is None]
    for each in a.sampled:
        if each.layer is not None:
            by_layer[each.layer].append(each)
    ours = list(rest)
    for theirs_layer, ours_layer in layer_of.items():
        ours += [_renumbered(each, ours_layer, theirs_layer) for each in by_layer[ours_layer]]
    return _matched(ours, list(b.sampled), layer_of, True)


def _renumbered(each: Sampled, old: int, new: int) -> Sampled:
    """A weight of a layer as if the layer had another number."""
    segments = [str(new) if part == str(old) else part for part in each.named.name.split(".")]
    name = ".".join(segments)
    label = (name, *each.named.label[1:])
    role = (new, *each.named.role[1:])
    return replace(each, named=replace(each.named, name=name, label=label, role=role))


def _matched(
    ours: Sequence[Sampled],
    theirs: Sequence[Sampled],
    layer_of: Mapping[int, int],
    moved: bool,
) -> Matching:
    found = match_tensors([e.named for e in ours], [e.named for e in theirs])
    pairs = []
    for i, (j, _) in sorted(found.items()):
        x, y = _common(ours[i], theirs[j])
        pairs.append(Matched(ours[i], theirs[j], x, y))
    taken = {j for j, _ in found.values()}
    counts: dict[int, int] = defaultdict(int)
    for i in layer_of.values():
        counts[i] += 1
    return Matching(
        pairs=tuple(pairs),
        only_a=tuple(e.named.name for i, e in enumerate(ours) if i not in found),
        only_b=tuple(e.named.name for j, e in enumerate(theirs) if j not in taken),
        layer_of=layer_of,
        moved=moved,
        doubled=tuple(sorted(i for i, count in counts.items() if count > 1)),
    )


def _common(a: Sampled, b: Sampled) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The values at the rows that both have; nothing if the rows differ in width."""
    none = np.zeros((0, 0), np.float32)
    if a.values.shape[1] != b.values.shape[1] or a.is_matrix != b.is_matrix:
        return none, none
    if len(a.rows) == len(b.rows) and np.array_equal(a.rows, b.rows):
        return a.values, b.values
    # Of matrices with other numbers of rows only token tables have the same rows in the same
    # places: tokens are added at the end. Hidden units that are cut move up.
    if a.shape != b.shape and not a.is_token_table:
        return none, none
    _, i, j = np.intersect1d(a.rows, b.rows, assume_unique=True, return_indices=True)
    return a.values[i], b.values[j]


def _layers(a: Fingerprint, b: Fingerprint) -> dict[int, int]:
    """For each layer of B the layer of A that belongs to it.

    A layer's vector is its matrices, centred and of norm 1, one after the other: the cosine of
    two layers is the mean correlation of their matrices.
    """
    ours, theirs = _by_layer(a), _by_layer(b)
    if not ours or not theirs:
        return {}
    same = {j: j for j in theirs if j in ours}
    kinds = set.intersection(*(set(kinds) for kinds in [*ours.values(), *theirs.values()]))
    if not kinds:
        return same
    order = sorted(kinds)
    left = np.stack([np.concatenate([ours[i][k] for k in order]) for i in sorted(ours)])
    right = np.stack([np.concatenate([theirs[j][k] for k in order]) for j in sorted(theirs)])
    cosines = left @ right.T / len(order)
    rows = {i: n for n, i in enumerate(sorted(ours))}
    layer_of, numbers = {}, sorted(ours)
    for n, j in enumerate(sorted(theirs)):
        best = int(np.argmax(cosines[:, n]))
        here = cosines[rows[j], n] if j in rows else -1.0
        if cosines[best, n] > max(here + _BETTER, _WELL):
            layer_of[j] = numbers[best]
        elif here > _WELL:
            layer_of[j] = j
    # Where no layer has moved, their numbers say what belongs together, however little is alike.
    return layer_of if any(i != j for j, i in layer_of.items()) else same


def _by_layer(model: Fingerprint) -> dict[int, dict[_Kind, NDArray[np.float32]]]:
    """Unit vectors of the matrices of each layer, by component, type and shape.

    Mixtures' experts have no fixed numbers and are left out.
    """
    layers: dict[int, dict[_Kind, NDArray[np.float32]]] = defaultdict(dict)
    stacks = {e.stack for e in model.sampled if e.layer is not None}
    if len(stacks) != 1:
        return {}
    for each in model.sampled:
        if each.layer is None or not each.is_matrix or each.named.role[3] is not None:
            continue
        key = str(each.named.role[1]), each.named.block_type, each.shape
        # Some layers have more rows sampled than others; these ones all have.
        settings, cols = model.settings, each.values.shape[1]
        rows = sampled_rows(each.shape[0], max(BLOCK, settings.elements // cols), settings.seed)
        x = each.values[np.searchsorted(each.rows, rows)]
        x = (x - x.mean()).ravel()
        norm = float(np.linalg.norm(x))
        layers[each.layer][key] = x / norm if norm > 0 else x
    return layers

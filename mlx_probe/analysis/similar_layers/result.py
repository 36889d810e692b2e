"""What a comparison of layers found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.analysis.similar_layers.leading import overlap, spectrum_distance

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.blocks import Place, Unread
    from mlx_probe.analysis.similar_layers.config import SimilarConfig
    from mlx_probe.analysis.similar_layers.finding import LayerFinding, Names
    from mlx_probe.analysis.similar_layers.group import Group
    from mlx_probe.analysis.similar_layers.reading import Matrix
    from mlx_probe.analysis.similar_layers.relations import Relation

__all__ = ["SimilarLayers"]


@dataclass(frozen=True)
class SimilarLayers:
    """Layers of a model, compared with each other and with those of other models.

    Attributes:
        names: How models and layers are called.
        groups: What was compared.
        relations: Copies, by group.
        findings: What they come to.
        blocks: Blocks of the model with a part that was compared.
        unread: Parts that were not.
        unordered: Reason why an inner order was not looked for, by name of the part.
        config: Settings.
        seconds: That it took.
    """

    names: Names
    groups: Sequence[Group]
    relations: Sequence[Sequence[Relation]]
    findings: Sequence[LayerFinding]
    blocks: Sequence[Place]
    unread: Sequence[Unread]
    unordered: Mapping[str, str]
    config: SimilarConfig
    seconds: float

    def nearest(self) -> tuple[Place, Place, float] | None:
        """The two blocks of the model that are most alike in the stored order; None for one."""
        values = self.map_of(0)
        if len(values) < 2:
            return None
        pairs = np.where(np.tri(len(values), k=-1, dtype=bool) & np.isfinite(values), values, -2.0)
        at, other = map(int, np.unravel_index(int(pairs.argmax()), pairs.shape))
        if pairs[at, other] < -1:
            return None
        return self.blocks[other], self.blocks[at], float(pairs[at, other])

    def places_of(self, model: int) -> list[Place]:
        """Blocks of a model that were compared."""
        return sorted(
            {
                each.part.place
                for group in self.groups
                for each in group.prints
                if each.part.place.model == model
            }
        )

    def map_of(self, model: int) -> Matrix:
        """Mean cosine of the matrices of two blocks, (blocks, blocks of a model).

        Of the stored order and of samples; where parts copy each other, exact, and in the order
        that makes them alike. NaN for blocks without parts of equal shapes.
        """
        rows, cols = self.places_of(0), self.places_of(model)
        total = np.zeros((len(rows), len(cols)))
        count = np.zeros_like(total)
        row_of, col_of = ({place: i for i, place in enumerate(p)} for p in (rows, cols))
        for group, relations in zip(self.groups, self.relations, strict=True):
            values = np.stack(list(group.stored.values()))
            known = np.isfinite(values)
            mean = np.where(known, values, 0).sum(0) / np.maximum(known.sum(0), 1)
            for each in relations:
                exact = float(np.mean(list(each.cosine.values())))
                mean[each.part, each.other] = mean[each.other, each.part] = exact
            for i, one in enumerate(group.prints[: group.own]):
                for j, other in enumerate(group.prints):
                    if other.part.place.model == model:
                        at = row_of[one.part.place], col_of[other.part.place]
                        total[at] += mean[i, j] * len(group.roles)
                        count[at] += len(group.roles)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row for each pair of matrices of one role."""
        for group, relations in zip(self.groups, self.relations, strict=True):
            known = {(each.part, each.other): each for each in relations}
            for i, one in enumerate(group.prints[: group.own]):
                for j, other in enumerate(group.prints):
                    if j < i or j >= group.own:
                        for role in group.roles:
                            yield {
                                **self._pair(one.part.place, other.part.place),
                                "part": group.name,
                                "role": role,
                                **_measured(group, i, j, role),
                                **_related(known.get((i, j)), role),
                            }

    def _pair(self, one: Place, other: Place) -> dict[str, Any]:
        return {
            "stack": one.stack,
            "layer": one.layer,
            "other_model": self.names.models[other.model] if other.model else None,
            "other_stack": other.stack,
            "other_layer": other.layer,
        }

    def as_json(self) -> dict[str, Any]:
        """The result for programs, in English."""
        nearest = self.nearest()
        return {
            "model": self.names.models[0],
            "against": list(self.names.models[1:]),
            "layers": [
                {"stack": place.stack, "layer": place.layer, "parts": self._parts(place)}
                for place in self.blocks
            ],
            "findings": [each.as_json() for each in self.findings],
            "nearest": None
            if nearest is None
            else {"layers": [each.layer for each in nearest[:2]], "cosine": nearest[2]},
            "null": [_null(group) for group in self.groups],
            "maps": [
                {
                    "model": name,
                    "layers": [place.layer for place in self.places_of(model)],
                    "cosine": _numbers(self.map_of(model)),
                }
                for model, name in enumerate(self.names.models)
            ],
            "unread": [
                {"layer": each.place.layer, "part": each.name, "reason": each.reason}
                for each in self.unread
            ],
            "stored_order_only": dict(self.unordered),
            "settings": asdict(self.config),
            "seconds": self.seconds,
        }

    def _parts(self, place: Place) -> list[str]:
        return sorted(
            group.name for group in self.groups for each in group.prints if each.part.place == place
        )


def _measured(group: Group, i: int, j: int, role: str) -> dict[str, Any]:
    one, other = group.prints[i], group.prints[j]
    cosine = float(group.stored[role][i, j])
    ratio = other.norms[role] / one.norms[role] if one.norms[role] else None
    known = ratio is not None and np.isfinite(cosine)
    square = 1 + ratio * ratio - 2 * ratio * cosine if known and ratio is not None else 0.0
    found: dict[str, Any] = {
        "cosine": cosine if known else None,
        "distance": float(np.sqrt(max(0.0, square))) if known else None,
        "norm_ratio": ratio,
        "sum_cosine": None,
        "threshold": group.chance[role].threshold,
        "spectrum_distance": None,
        "left_overlap": None,
        "right_overlap": None,
    }
    if role in group.summed and np.isfinite(group.summed[role][i, j]):
        found["sum_cosine"] = float(group.summed[role][i, j])
    if role in one.directions and role in other.directions:
        a, b = one.directions[role], other.directions[role]
        found["spectrum_distance"] = spectrum_distance(a, b)
        found["left_overlap"] = overlap(a.left, b.left)
        found["right_overlap"] = overlap(a.right, b.right)
    return found


def _related(relation: Relation | None, role: str) -> dict[str, Any]:
    if relation is None:
        return dict.fromkeys(("relation", "exact_cosine", "exact_distance", "held_out_cosine"))
    return {
        "relation": relation.kind,
        "exact_cosine": relation.cosine.get(role),
        "exact_distance": relation.distance.get(role),
        "held_out_cosine": relation.held.get(role),
    }


def _null(group: Group) -> dict[str, Any]:
    return {
        "part": group.name,
        "layers": group.own,
        "roles": {
            role: {
                "center": chance.center,
                "spread": chance.spread,
                "largest": chance.largest,
                "threshold": chance.threshold,
                "comparisons": chance.comparisons,
                "decides": chance.decides,
            }
            for role, chance in group.chance.items()
        },
    }


def _numbers(values: Matrix) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in values]

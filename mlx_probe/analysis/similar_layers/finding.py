"""One thing that is said of layers, and how layers and models are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.findings.words import ranges

if TYPE_CHECKING:
    from mlx_probe.analysis.findings.finding import Text
    from mlx_probe.analysis.similar_layers.blocks import Place

__all__ = ["LayerFinding", "Names"]


@dataclass(frozen=True)
class LayerFinding:
    """One thing about the layers of a model.

    Attributes:
        kind: "exact_copy", "near_copy", "permuted_copy", "average", "origin", "moved",
            "repeated", "absent", "unknown" or "possible_order".
        sentence: Subject first, with the numbers.
        layers: Numbers of the layers that it is about.
        evidence: Numbers behind the sentence; JSON values.
        certain: False for a weak sign, which the sentence calls possible.
    """

    kind: str
    sentence: Text
    layers: tuple[int, ...]
    evidence: Mapping[str, Any]
    certain: bool = True

    def as_json(self) -> dict[str, Any]:
        """The finding for programs, in English."""
        return {
            "kind": self.kind,
            "certain": self.certain,
            "sentence": self.sentence.english,
            "layers": list(self.layers),
            "evidence": dict(self.evidence),
        }


@dataclass(frozen=True)
class Names:
    """How layers and models are called.

    Attributes:
        models: Name of each model, that which is asked about first.
        stacks: Stacks of each model; a layer is named with its stack where there are several.
        chance: The largest cosine of rows that do not belong together, over all roles.
        threshold: The largest cosine that a copy must reach, over all roles.
    """

    models: Sequence[str]
    stacks: Sequence[frozenset[str]]
    chance: float
    threshold: float

    def layers(self, places: Iterable[Place]) -> str:
        """Layers of one model: "3, 8-15"."""
        by: dict[str, list[int]] = {}
        model = 0
        for place in places:
            model = place.model
            by.setdefault(place.stack, []).append(place.layer)
        if len(self.stacks[model]) < 2:
            return "; ".join(map(ranges, by.values()))
        return "; ".join(f"{stack}.{ranges(numbers)}" for stack, numbers in by.items())

"""What is said about two models: a relation, its probability, and the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["RELATIONS", "Evidence", "LineageConfig", "Relation", "RelationName"]

RelationName = Literal["same", "quantization", "pruning", "lora", "merge", "finetune", "unrelated"]
RELATIONS: tuple[RelationName, ...] = (
    *("same", "quantization", "pruning", "lora", "merge", "finetune", "unrelated"),
)


@dataclass(frozen=True)
class LineageConfig:
    """How much of each model is read; it has to be equal for all models that are compared.

    Attributes:
        elements: Elements of each matrix of each sampled layer, in whole rows.
        deep_rows: Rows of each matrix of a few layers: the rank of a difference of up to a third
            of it can be measured.
        deep_layers: Layers of which so many rows are read.
        layers: Layers that are read at all.
        experts: Experts of each layer that are read.
        token_rows: Rows of embeddings and of the output head.
        seed: Decides which rows, layers and experts.
    """

    elements: int = 1 << 16
    deep_rows: int = 128
    deep_layers: int = 3
    layers: int = 64
    experts: int = 2
    token_rows: int = 256
    seed: int = 0


@dataclass(frozen=True)
class Evidence:
    """One measured fact about two models.

    Attributes:
        name: A key: "weight_correlation".
        value: The number, the word or the list; None where it cannot be computed.
        says: What the value says, a sentence.
    """

    name: str
    value: Any
    says: str

    def as_json(self) -> dict[str, Any]:
        """The fields."""
        return {"name": self.name, "value": self.value, "says": self.says}


@dataclass(frozen=True)
class Relation:
    """How model B is related to model A.

    Attributes:
        a: The first model.
        b: The second one.
        relation: One of `RELATIONS`.
        probability: Of the relation that is named.
        related: Probability that they are related at all.
        evidence: What was measured, the most telling first.
        parent: Which one is likely the other's origin: "a", "b", or None where weights and
            metadata do not tell.
        reason: Why that one is the parent; "" without one.
        note: What else is to be known: "after a permutation of the hidden units"; may be "".
        sample: What was compared: numbers of tensors and elements, bytes read of each model.
        rule: Which rule named the relation, a key of the calibration; "" for unrelated models.
        numbers: The numbers that the decision was made from, by name.
    """

    a: str
    b: str
    relation: RelationName
    probability: float
    related: float
    evidence: tuple[Evidence, ...]
    parent: Literal["a", "b"] | None = None
    reason: str = ""
    note: str = ""
    sample: Mapping[str, Any] = field(default_factory=dict)
    rule: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The document of ``mlx-probe lineage A B --json``."""
        return {
            "a": self.a,
            "b": self.b,
            "relation": self.relation,
            "probability": self.probability,
            "related": self.related,
            "parent": self.parent,
            "reason": self.reason,
            "note": self.note,
            "evidence": [each.as_json() for each in self.evidence],
            "sample": dict(self.sample),
        }

"""What is said about a model and those that it may be a merge of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["METHODS", "GroupWeights", "MergeMethod", "MergeWeights", "Part", "Uniformity"]

MergeMethod = Literal[
    "linear",
    "slerp",
    "linear or slerp",
    "task arithmetic",
    "passthrough",
    "copy",
    "unknown",
    "none",
    "undetermined",
]
# Each with what it means.
METHODS: Mapping[MergeMethod, str] = {
    "linear": "each tensor is a weighted sum of the parents' tensors",
    "slerp": "each tensor lies on the arc between the two parents' tensors",
    "linear or slerp": "the parents are so alike that both would give this model",
    "task arithmetic": "base + sum of weights * (parent - base)",
    "passthrough": "each tensor is a copy of one parent's, and not always of the same parent's",
    "copy": "all tensors are those of one parent",
    "unknown": "something of at least two parents is in it, and more than a weighted sum",
    "none": "it is no merge of these models",
    "undetermined": "the parents are too alike, or have no tensors in common with it",
}

Uniformity = Literal["all", "component", "layer", "layer and component", "tensor"]


@dataclass(frozen=True)
class Part:
    """What one parent has in a merge.

    Attributes:
        model: The parent.
        weight: Its weight; of spherical interpolations 1 - t and t.
        error: Standard error of the weight.
    """

    model: str
    weight: float
    error: float

    def as_json(self) -> dict[str, Any]:
        """The fields."""
        return {"model": self.model, "weight": self.weight, "error": self.error}


@dataclass(frozen=True)
class GroupWeights:
    """Weights of the tensors of one layer and component.

    Attributes:
        layer: Its number; None outside of all layers.
        component: "attention", "mlp" and so on.
        parts: One for each parent.
        tensors: Tensors that they were computed from.
        residual: Median over the tensors of residual over rounding noise.
    """

    layer: int | None
    component: str
    parts: tuple[Part, ...]
    tensors: int
    residual: float

    def as_json(self) -> dict[str, Any]:
        """The fields."""
        return {
            "layer": self.layer,
            "component": self.component,
            "parts": [part.as_json() for part in self.parts],
            "tensors": self.tensors,
            "residual": self.residual,
        }


@dataclass(frozen=True)
class MergeWeights:
    """Whether a model is a merge of others, how it was made, and with which weights.

    Attributes:
        child: The model.
        parents: Those that it may be a merge of.
        base: What the parents were made from, where it was given.
        method: One of `METHODS`.
        probability: That it is a merge of at least two of these.
        parts: The weight of each parent, with that of the base at the end; empty where they are
            not the same in the whole model, or are not known.
        total: Sum of the weights as fitted; None if it was not free, or is not known.
        total_error: Its standard error.
        groups: Weights by layer and component, in the model's order.
        uniform: How far the weights agree: over all tensors, over those of a component, of a
            layer, of both, or not even there; None without weights.
        residual: Median over tensors of the residual over what rounding makes; None without any.
        fitting: Share of the sampled elements whose tensors are explained up to rounding.
        explained: Share of the change that the weighted sum explains; None if it was not computed.
        tensors: Tensors that were compared.
        same: Of these, tensors that are equal in all parents: they say nothing about weights.
        left_out: Tensors of the child that were not compared, with the reason.
        why: What was seen, in sentences.
    """

    child: str
    parents: tuple[str, ...]
    base: str | None
    method: MergeMethod
    probability: float
    parts: tuple[Part, ...]
    total: float | None
    total_error: float | None
    groups: tuple[GroupWeights, ...]
    uniform: Uniformity | None
    residual: float | None
    fitting: float
    explained: float | None
    tensors: int
    same: int
    left_out: Mapping[str, str]
    why: tuple[str, ...]

    @property
    def is_merge(self) -> bool:
        """Whether the weights are known to be those of a merge."""
        return self.method in ("linear", "slerp", "linear or slerp", "task arithmetic") or (
            self.method == "passthrough"
        )

    def as_json(self) -> dict[str, Any]:
        """All fields, for ``--json``."""
        return {
            "child": self.child,
            "parents": list(self.parents),
            "base": self.base,
            "method": self.method,
            "probability": self.probability,
            "parts": [part.as_json() for part in self.parts],
            "total": self.total,
            "total_error": self.total_error,
            "uniform": self.uniform,
            "groups": [group.as_json() for group in self.groups],
            "residual": self.residual,
            "fitting": self.fitting,
            "explained": self.explained,
            "tensors": self.tensors,
            "same": self.same,
            "left_out": dict(self.left_out),
            "why": list(self.why),
        }

"""What `mlx-probe lineage` prints: relations of models."""

from __future__ import annotations

from mlx_probe.analysis.lineage.merge_records import METHODS
from mlx_probe.analysis.lineage.records import RELATIONS

from .shape import (
    ANYTHING,
    FLAG,
    INTEGER,
    NUMBER,
    TEXT,
    Document,
    Schema,
    listed,
    mapping,
    nullable,
    one_of,
    record,
)

__all__ = ["FAMILY", "MERGE", "MODEL_LINEAGE", "RELATION"]

EVIDENCE: Schema = record(
    {
        "name": (TEXT, "What was measured."),
        "value": (ANYTHING, "A number, a text or a list; null where it cannot be computed."),
        "says": (TEXT, "What the value says."),
    }
)
_BOTH = listed(INTEGER)
SAMPLE: Schema = record(
    {
        "matrices": (INTEGER, "Matrices that were compared element by element."),
        "elements": (INTEGER, "Their sampled elements."),
        "left_out": (_BOTH, "Weights of A and of B that could not be read."),
        "read_bytes": (_BOTH, "Bytes of the samples of A and of B, as stored."),
        "fetched_bytes": (_BOTH, "Bytes that came over the network, headers included."),
        "model_bytes": (_BOTH, "Bytes of the weights of A and of B."),
    }
)
RELATION: Schema = record(
    {
        "a": (TEXT, "The first model."),
        "b": (TEXT, "The second one."),
        "relation": (one_of(RELATIONS), "How they are related."),
        "probability": (NUMBER, "Probability of this relation."),
        "related": (NUMBER, "Probability that they are related at all."),
        "parent": (
            nullable(one_of(("a", "b"))),
            "Which one the other likely comes from; null where that is not known.",
        ),
        "reason": (TEXT, "Why the relation or the parent is this one; may be empty."),
        "note": (TEXT, "What else is to be known; may be empty."),
        "evidence": (listed(EVIDENCE), "What was measured."),
        "sample": (SAMPLE, "What was read."),
    }
)

MEMBER: Schema = record(
    {
        "name": (TEXT, "Its name, or its path where two have one name."),
        "path": (TEXT, "Its folder or file, or its address."),
        "parameters": (INTEGER, "Its elements."),
        "layers": (INTEGER, "Its blocks."),
        "nbytes": (INTEGER, "Its weights as stored."),
    }
)
PART: Schema = record(
    {
        "model": (TEXT, "A parent."),
        "weight": (NUMBER, "Its weight; of spherical interpolations 1 - t and t."),
        "error": (NUMBER, "Standard error of the weight."),
    }
)
GROUP: Schema = record(
    {
        "layer": (nullable(INTEGER), "The layer; null outside of all."),
        "component": (TEXT, "The part of the network."),
        "parts": (listed(PART), "Weights in this layer and component."),
        "tensors": (INTEGER, "Tensors that they were computed from."),
        "residual": (NUMBER, "Median of what is left over what rounding makes."),
    }
)
MERGE: Schema = record(
    {
        "child": (TEXT, "The model."),
        "parents": (listed(TEXT), "What it is a merge of."),
        "base": (nullable(TEXT), "What the parents were made from, where it was given."),
        "method": (one_of(tuple(METHODS)), "How it was made."),
        "probability": (NUMBER, "That it is a merge of at least two of these."),
        "parts": (listed(PART), "Weights of the whole model; empty where they differ in it."),
        "total": (nullable(NUMBER), "Sum of the weights as fitted; null where it is not free."),
        "total_error": (nullable(NUMBER), "Its standard error."),
        "uniform": (
            nullable(one_of(("all", "component", "layer", "layer and component", "tensor"))),
            "Within what the weights agree.",
        ),
        "groups": (listed(GROUP), "Weights by layer and component."),
        "residual": (nullable(NUMBER), "Median of what is left over what rounding makes."),
        "fitting": (NUMBER, "Share of the elements in tensors that are so explained."),
        "explained": (nullable(NUMBER), "Share of the change that weighted sums explain."),
        "tensors": (INTEGER, "Tensors that were compared."),
        "same": (INTEGER, "Of these, tensors that are equal in all parents."),
        "left_out": (mapping(TEXT), "Other tensors, with the reason."),
        "why": (listed(TEXT), "What was seen."),
    }
)
DESCENT: Schema = record(
    {
        "parent": (TEXT, "A model."),
        "child": (TEXT, "What comes from it."),
        "relation": (one_of(RELATIONS), "How they are related."),
        "probability": (NUMBER, "Probability of the relation."),
        "directed": (FLAG, "Whether anything says that it is this way round."),
        "weight": (nullable(NUMBER), "The parent's weight in a merge; null elsewhere."),
        "reason": (TEXT, "Why; may be empty."),
    }
)
TREE: Schema = record(
    {
        "members": (listed(TEXT), "Models that are related, roots first."),
        "roots": (listed(TEXT), "Those that come from none of the others."),
        "root_known": (FLAG, "Whether anything says that the roots are the origins."),
        "edges": (listed(DESCENT), "What comes from what."),
    }
)
FAMILY: Schema = record(
    {
        "models": (listed(MEMBER), "The models, in the order in which they were named."),
        "pairs": (listed(RELATION), "Every pair."),
        "merges": (listed(MERGE), "Models that are merges of others."),
        "tree": (listed(TREE), "Related models together, the largest tree first."),
        "left_out": (mapping(TEXT), "Models that could not be compared, with the reason."),
    }
)

MODEL_LINEAGE = Document(RELATION, {"of more than two models": FAMILY})

"""What `mlx-probe lineage` prints: relations of models."""

from __future__ import annotations

from mlx_probe.analysis.lineage.records import RELATIONS

from .shape import (
    ANYTHING,
    INTEGER,
    NUMBER,
    TEXT,
    Document,
    Schema,
    listed,
    nullable,
    one_of,
    record,
)

__all__ = ["MODEL_LINEAGE", "RELATION"]

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

MODEL_LINEAGE = Document(
    RELATION, {"of more than two models": record({"pairs": (listed(RELATION), "Every pair.")})}
)

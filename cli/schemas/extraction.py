"""Documents of an adapter that was extracted from a difference."""

from __future__ import annotations

from .shape import INTEGER, NUMBER, TEXT, Schema, listed, mapping, nullable, one_of, record

__all__ = ["EXTRACTION"]

_ADAPTER = record(
    {
        "folder": (TEXT, "Where it is, in the run folder."),
        "tensors": (INTEGER, "Tensors of A that it changes."),
        "bytes": (INTEGER, "Size of its tensors."),
        "error": (nullable(NUMBER), "Relative Frobenius error over all changed tensors."),
    }
)

_TOKEN = {
    "id": (INTEGER, "Its number."),
    "text": (nullable(TEXT), "Its text; null without a tokenizer."),
}

_TOKENS = record(
    {
        "reason": (nullable(TEXT), "Why there are none, or why they have no texts."),
        "matrices": (INTEGER, "Matrices that were looked at: those that changed most."),
        "directions": (
            listed(
                record(
                    {
                        "tensor": (TEXT, "The matrix of A."),
                        "expert": (nullable(INTEGER), "Of a mixture."),
                        "side": (one_of(("reads", "writes")), "Its side on the residual stream."),
                        "direction": (INTEGER, "From 1, the strongest of the matrix."),
                        "share": (NUMBER, "Of the change's sum of squares."),
                        "null_cosine": (NUMBER, "The largest cosine by chance."),
                        "tokens": (
                            listed(record({**_TOKEN, "cosine": (NUMBER, "With the direction.")})),
                            "Those above chance, of one sign.",
                        ),
                    }
                )
            ),
            "Directions that lie along a token more than by chance, the clearest first.",
        ),
        "changed": (
            listed(record({**_TOKEN, "change": (NUMBER, "Relative to a random input.")})),
            "Tokens whose inputs change most.",
        ),
    }
)

EXTRACTION: Schema = record(
    {
        "matrices": (INTEGER, "Matrices that have factors."),
        "rank": (INTEGER, "The largest rank."),
        "ranks": (mapping(INTEGER), "How many matrices have which rank."),
        "error": (nullable(NUMBER), "Relative Frobenius error over these matrices."),
        "rounding_share": (nullable(NUMBER), "Expected rounding of B's file, likewise."),
        "rank_above_rounding": (
            nullable(INTEGER),
            "The largest rank of a change above rounding; null where it says nothing.",
        ),
        "left_out": (INTEGER, "Changed tensors that no adapter has a place for."),
        "unknown": (INTEGER, "Tensors without a counterpart or without numbers."),
        "adapters": (
            record(
                {
                    "peft": (nullable(_ADAPTER), "PEFT's."),
                    "mlx_lm": (nullable(_ADAPTER), "mlx-lm's."),
                }
            ),
            "The adapters; null for one that has no matrix.",
        ),
        "tokens": (_TOKENS, "Tokens that the difference reads and writes."),
    }
)

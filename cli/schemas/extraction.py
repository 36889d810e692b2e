"""Documents of an adapter that was extracted from a difference."""

from __future__ import annotations

from .shape import INTEGER, NUMBER, TEXT, Schema, mapping, nullable, record

__all__ = ["EXTRACTION"]

_ADAPTER = record(
    {
        "folder": (TEXT, "Where it is, in the run folder."),
        "tensors": (INTEGER, "Tensors of A that it changes."),
        "bytes": (INTEGER, "Size of its tensors."),
        "error": (nullable(NUMBER), "Relative Frobenius error over all changed tensors."),
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
    }
)

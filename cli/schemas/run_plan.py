"""The document of `plan run MODEL`."""

from __future__ import annotations

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, nullable, record

__all__ = ["RUN_PLAN"]

_WIDTH = record(
    {
        "bits": (INTEGER, "Of an element of the matrices; 16 for no quantization."),
        "weights": (INTEGER, "Bytes of all weights."),
        "read": (nullable(INTEGER), "Bytes of them that a new token reads; null if unknown."),
        "longest": (
            nullable(INTEGER),
            "Tokens of the longest context that fits, at most the model's own; 0 for none.",
        ),
        "bandwidth": (NUMBER, "Bytes a second at which products with one vector read them."),
        "error": (nullable(NUMBER), "RMSE of rounding over the RMS of the weights."),
        "worst": (
            listed({"type": "array", "items": {"type": ["string", "number"]}}),
            "Name and error of the matrices that lose the most.",
        ),
    }
)
_OPTION = record(
    {
        "bits": (INTEGER, "Of an element of the matrices."),
        "context": (INTEGER, "Tokens."),
        "weights": (INTEGER, "Bytes of the weights."),
        "cache": (nullable(INTEGER), "Bytes of keys and values; null if unknown."),
        "working": (INTEGER, "Bytes that reading a prompt takes beside them, estimated."),
        "total": (nullable(INTEGER), "Their sum."),
        "fits": (nullable(FLAG), "Whether that is at most the memory."),
        "tokens_per_second": (nullable(NUMBER), "New tokens a second at that context."),
    }
)
RUN_PLAN: Schema = record(
    {
        "model": (
            record(
                {
                    "id": (TEXT, "Its name."),
                    "revision": (TEXT, "Commit, version or local."),
                    "parameters": (INTEGER, "Numbers in it."),
                    "bytes": (INTEGER, "As it is stored."),
                    "packed": (TEXT, "How its matrices are packed; empty if they are not."),
                }
            ),
            "The model.",
        ),
        "device": (TEXT, "Where it would run."),
        "memory": (INTEGER, "Bytes that it may take."),
        "memory_assumed": (FLAG, "Whether --memory named them."),
        "bandwidth_measured": (FLAG, "Whether products were timed; false with --bandwidth."),
        "product_seconds": (NUMBER, "Time that each product takes beside reading."),
        "trained_context": (nullable(INTEGER), "Tokens of the contexts that it was trained on."),
        "experts": (
            nullable(
                record(
                    {
                        "active": (INTEGER, "That a token uses; 0 if unknown."),
                        "of": (INTEGER, "Of a layer."),
                    }
                )
            ),
            "Experts; null without.",
        ),
        "quality": (
            record(
                {
                    "rounded": (INTEGER, "Matrices that were rounded."),
                    "of": (INTEGER, "Matrices that MLX would quantize."),
                    "sample": (TEXT, "Which were chosen; empty for all."),
                }
            ),
            "What the errors are from.",
        ),
        "widths": (listed(_WIDTH), "Widths, by falling bits."),
        "options": (listed(_OPTION), "Widths at contexts."),
        "unknown": (listed(TEXT), "What could not be said, and why."),
        "advice": (listed(TEXT), "What to do, the best first."),
        "fits": (FLAG, "Whether some width fits at some of the contexts."),
    }
)

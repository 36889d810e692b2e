"""The part of `budget MODEL` about a model that was written."""

from __future__ import annotations

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, nullable, one_of, record

__all__ = ["EXPORTED"]

_MODEL = record(
    {
        "name": (
            one_of(("before", "after", "uniform")),
            "The model as it was, as it was written, or quantized uniformly by mlx-lm.",
        ),
        "bits": (nullable(INTEGER), "Of the uniform quantization; null for the others."),
        "bytes": (INTEGER, "Bytes of its files with weights."),
        "val_loss": (nullable(NUMBER), "Nats of a token; null if it was not run."),
        "perplexity": (nullable(NUMBER), "The exponential of the loss."),
        "bits_per_byte": (nullable(NUMBER), "Bits of a byte of the text."),
        "tokens": (INTEGER, "Tokens that were predicted."),
        "reason": (TEXT, "Why it was not run; empty if it was."),
    }
)

EXPORTED: Schema = record(
    {
        "folder": (TEXT, "The folder that was written."),
        "files": (listed(TEXT), "Its files with weights."),
        "bytes": (INTEGER, "Their size."),
        "predicted_error": (NUMBER, "The error that was predicted."),
        "error": (NUMBER, "The same of the files that were written."),
        "needs_code": (FLAG, "Whether mlx-lm has to run the file beside the weights."),
        "text": (
            nullable(
                record(
                    {
                        "source": (TEXT, "The text that models were compared on."),
                        "tokens": (INTEGER, "Tokens to predict, at most; 0 for all."),
                        "context": (INTEGER, "Tokens that a model sees at most."),
                        "models": (listed(_MODEL), "The models."),
                    }
                )
            ),
            "How well a text is predicted; null without --text.",
        ),
    }
)

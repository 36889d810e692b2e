"""Documents of `moe prune` and `moe merge`."""

from __future__ import annotations

from typing import Any

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, nullable, one_of, record

__all__ = ["MERGED_EXPERTS", "PRUNED"]

_REDUCED: dict[str, tuple[Any, str]] = {
    "folder": (TEXT, "Where the new mixture is, in Hugging Face's layout."),
    "model": (TEXT, "The reference of the old one."),
    "stock": (TEXT, "Its model_type."),
    "layers": (INTEGER, "Layers that are mixtures."),
    "experts_before": (INTEGER, "Experts of a layer of the old one."),
    "experts": (INTEGER, "Experts of a layer of the new one."),
    "active": (INTEGER, "Experts that a token uses."),
    "tensors": (INTEGER, "Tensors of the new one."),
    "bytes": (INTEGER, "Size of its weights."),
    "files": (listed(TEXT), "Names of the files with weights."),
    "run": (FLAG, "Whether both were run; without it what follows is null."),
    "data": (nullable(TEXT), "The text."),
    "skipped": (
        nullable(INTEGER),
        "Tokens at its beginning that scores were computed on: the losses are of what follows.",
    ),
    "tokens": (nullable(INTEGER), "Tokens that are predicted."),
    "context": (nullable(INTEGER), "Tokens that the mixtures saw at most."),
    "device": (nullable(TEXT), "Where they ran."),
    "loss_before": (nullable(NUMBER), "Mean nats a token, of the old mixture."),
    "loss_after": (nullable(NUMBER), "Mean nats a token, of the new one."),
}

PRUNED: Schema = record(
    {
        **_REDUCED,
        "by": (one_of(("saliency", "load", "random")), "What scores are."),
        "seed": (nullable(INTEGER), "Of random scores; null for others."),
        "kept": (
            listed(
                record(
                    {
                        "layer": (INTEGER, "Number of the layer."),
                        "experts": (
                            listed(INTEGER),
                            "Old numbers of its experts, in the order of the new ones.",
                        ),
                        "scores": (listed(NUMBER), "Of all old experts."),
                    }
                )
            ),
            "What was kept of each layer.",
        ),
    }
)

MERGED_EXPERTS: Schema = record(
    {
        **_REDUCED,
        "threshold": (NUMBER, "Least cosine of near-duplicates."),
        "seed": (INTEGER, "Of the projection by which hidden units were matched."),
        "merged": (
            listed(
                record(
                    {
                        "layer": (INTEGER, "Number of the layer."),
                        "experts": (
                            listed(listed(INTEGER)),
                            "Old numbers of what each new expert was made of.",
                        ),
                        "cosines": (
                            listed(nullable(NUMBER)),
                            "The least cosine of two of these; null for one alone.",
                        ),
                    }
                )
            ),
            "What became of the experts of each layer.",
        ),
    }
)

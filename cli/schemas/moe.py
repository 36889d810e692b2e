"""Documents of moe."""

from __future__ import annotations

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, nullable, one_of, record

__all__ = ["GRAFTED"]

GRAFTED: Schema = record(
    {
        "folder": (TEXT, "Where the mixture is, in Hugging Face's layout."),
        "model": (TEXT, "The reference of the dense model."),
        "stock": (one_of(("mixtral", "qwen3_moe")), "The model_type of the mixture."),
        "form": (one_of(("sum", "copy", "drop")), "What an expert is made of."),
        "split": (
            nullable(one_of(("contiguous", "random", "cluster", "activation"))),
            "Which hidden units go together; null for copies.",
        ),
        "layers": (INTEGER, "Layers, each with a mixture."),
        "experts": (INTEGER, "Experts of a layer."),
        "width": (INTEGER, "Hidden units of an expert."),
        "active": (INTEGER, "Experts that a token uses."),
        "factor": (INTEGER, "What down projections were multiplied by."),
        "exact": (FLAG, "Whether that rounded nothing: a power of two."),
        "seed": (INTEGER, "Of everything that is drawn."),
        "tensors": (INTEGER, "Tensors of the mixture."),
        "parameters": (INTEGER, "Numbers in it."),
        "bytes": (INTEGER, "Size of its weights."),
        "files": (listed(TEXT), "Names of the files with weights."),
        "notes": (listed(TEXT), "What else is different."),
        "renewed_share": (
            nullable(NUMBER),
            "Share of hidden units that begin anew; null for other forms than `drop`.",
        ),
        "run": (FLAG, "Whether both models were run; without it what follows is null."),
        "data": (nullable(TEXT), "The text."),
        "tokens": (nullable(INTEGER), "Tokens that are predicted."),
        "context": (nullable(INTEGER), "Tokens that the models saw at most."),
        "device": (nullable(TEXT), "Where they ran."),
        "max_logit_difference": (nullable(NUMBER), "Largest difference of a logit of any token."),
        "loss_before": (nullable(NUMBER), "Mean nats a token, of the dense model."),
        "loss_after": (nullable(NUMBER), "Mean nats a token, of the mixture."),
        "damage": (
            listed(
                record(
                    {
                        "active": (INTEGER, "Experts of each token."),
                        "loss": (NUMBER, "Mean nats a token."),
                    }
                )
            ),
            "The loss with fewer experts, from all to one.",
        ),
    }
)

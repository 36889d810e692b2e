"""The document of `moe train`."""

from __future__ import annotations

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, nullable, one_of, record

__all__ = ["MIXTURE_TRAINED"]

_LOSS: Schema = record(
    {
        "val_loss": (NUMBER, "Mean nats a token of the validation text."),
        "val_bpb": (NUMBER, "Bits for each byte of it."),
    }
)
_EVALUATED: Schema = record(
    {
        "step": (INTEGER, "Steps before it."),
        "val_loss": (NUMBER, "Mean nats a token of the validation text."),
        "val_bpb": (NUMBER, "Bits for each byte of it."),
    }
)

MIXTURE_TRAINED: Schema = record(
    {
        "folder": (TEXT, "The run folder."),
        "model": (TEXT, "The trained mixture, in Hugging Face's layout."),
        "base": (TEXT, "The reference of the mixture that was trained."),
        "teacher": (nullable(TEXT), "The reference of the dense model."),
        "stock": (one_of(("mixtral", "qwen3_moe")), "The stock mixture that it is of."),
        "gate": (one_of(("dynamic", "topk")), "Its gates."),
        "learn": (one_of(("router", "experts", "all")), "What was learned."),
        "layers": (INTEGER, "Layers, each with a mixture."),
        "experts": (INTEGER, "Experts of a layer."),
        "active": (nullable(INTEGER), "Experts of a token; null where the gates decide."),
        "factor": (NUMBER, "What down projections were multiplied by; 0 where nothing follows."),
        "parameters": (INTEGER, "Numbers in it."),
        "learned_parameters": (INTEGER, "Numbers that were learned."),
        "planned_steps": (INTEGER, "Steps of the recipe."),
        "steps_done": (INTEGER, "Steps that were made."),
        "stopped_early": (FLAG, "Whether `train.patience` ended it before; exit code 4."),
        "tokens": (INTEGER, "Tokens that were learned from."),
        "dense": (nullable(_LOSS), "The teacher on the validation text."),
        "given": (_LOSS, "The mixture as it was given."),
        "initial": (_EVALUATED, "The mixture with its new gates, before the first step."),
        "final": (_EVALUATED, "After the last one."),
        "best": (_EVALUATED, "The best evaluation."),
        "active_experts": (
            record(
                {
                    "tokens": (INTEGER, "Tokens of the validation text."),
                    "layers": (INTEGER, "Layers."),
                    "experts": (INTEGER, "Experts of a layer."),
                    "mean": (NUMBER, "Experts of a token in a layer, in the mean."),
                    "min": (INTEGER, "The fewest."),
                    "max": (INTEGER, "The most."),
                    "fallback": (NUMBER, "Share of tokens and layers for which none fired."),
                }
            ),
            "How many experts tokens use in the end.",
        ),
        "device": (TEXT, "Where it was trained."),
        "compiled": (FLAG, "Whether the steps were compiled."),
        "compile_reason": (TEXT, "Why, or why not."),
        "training_seconds": (NUMBER, "From the first step to the last, over all starts."),
        "peak_memory": (INTEGER, "Bytes by MLX's count, from the first step to the last."),
        "passed": (FLAG, "Whether all checks passed."),
        "failures": (listed(TEXT), "Failed checks."),
    }
)

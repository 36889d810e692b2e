"""The document of `plan train CONFIG`."""

from __future__ import annotations

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, nullable, one_of, record

__all__ = ["TRAINING_PLAN"]

TRAINING_PLAN: Schema = record(
    {
        "family": (one_of(("llama", "qwen3")), "Architecture."),
        "parameters": (INTEGER, "Numbers that are learned."),
        "matrix_parameters": (INTEGER, "Those that every token is multiplied with."),
        "steps": (INTEGER, "Updates."),
        "tokens_per_step": (INTEGER, "Tokens that a step predicts."),
        "tokens": (INTEGER, "Of all steps."),
        "flops_per_token": (INTEGER, "Operations of forward and backward pass."),
        "flops": (INTEGER, "Of all steps."),
        "memory": (
            record(
                {
                    "weights": (INTEGER, "Bytes."),
                    "gradients": (INTEGER, "Bytes."),
                    "optimizer": (INTEGER, "Bytes."),
                    "activations": (INTEGER, "Bytes, estimated."),
                    "total": (INTEGER, "Their sum."),
                }
            ),
            "Memory at its peak.",
        ),
        "available": (INTEGER, "Bytes of the machine, or of its GPU."),
        "device": (TEXT, "Where MLX computes."),
        "blas": (nullable(TEXT), "Library of the products on a CPU; null for MLX's own."),
        "compiled": (FLAG, "Whether operations are compiled into few passes."),
        "compile_reason": (TEXT, "Why, or why not."),
        "product_rate": (NUMBER, "Operations a second in products of the model's sizes."),
        "efficiency": (NUMBER, "Share of that rate that whole steps are assumed to reach."),
        "least_seconds": (NUMBER, "Time of the products alone."),
        "seconds": (NUMBER, "Expected time of the steps."),
        "fits": (FLAG, "Whether the memory is enough."),
        "warnings": (listed(TEXT), "What to know or change."),
    }
)

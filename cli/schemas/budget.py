"""The document of `budget MODEL`."""

from __future__ import annotations

from mlx_probe.runs.budget_columns import COLUMNS

from .budget_export import EXPORTED
from .shape import INTEGER, NUMBER, TEXT, Schema, listed, nullable, of_columns, one_of, record

__all__ = ["BUDGET"]

BUDGET: Schema = record(
    {
        "model": (TEXT, "The reference of the model."),
        "folder": (TEXT, "Its files."),
        "run": (nullable(TEXT), "The folder that was written; null without --out."),
        "goal": (
            record(
                {
                    "energy": (
                        nullable(NUMBER),
                        "Share of its squared norm that each matrix keeps at least.",
                    ),
                    "error": (
                        nullable(NUMBER),
                        "Error of all matrices relative to their norm, at most.",
                    ),
                    "size": (nullable(INTEGER), "Bytes of the files with weights, at most."),
                }
            ),
            "What was asked for: one of the three.",
        ),
        "kinds": (listed(one_of(("bits", "rank"))), "What could be done to a matrix."),
        "dtype": (TEXT, "Value of --dtype."),
        "bytes_before": (INTEGER, "Bytes of the files with weights as they are."),
        "bytes_after": (INTEGER, "Bytes of these files when the choice is written."),
        "saved": (INTEGER, "Their difference."),
        "relative_error": (NUMBER, "Predicted error of all matrices, relative to their norm."),
        "energy": (NUMBER, "Squared Frobenius norm of all matrices."),
        "squared_error": (NUMBER, "Predicted squared error of all matrices."),
        "bound": (
            NUMBER,
            "What the best choice could be better by at most: squared error for the goal size, "
            "bytes for the others; 0 if this is the best.",
        ),
        "gap": (NUMBER, "The bound relative to the squared error, or to the bytes."),
        "exported": (nullable(EXPORTED), "The model that was written; null without --export."),
        "choices": (
            listed(of_columns(COLUMNS)),
            "A row for each matrix and each other parameter, in the order of the model.",
        ),
    }
)

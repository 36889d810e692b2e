"""Documents about documents: what a check found."""

from __future__ import annotations

from mlx_probe.library.documents.rules import RULES

from .shape import INTEGER, TEXT, Schema, one_of, record

__all__ = ["DOCUMENT_FINDING"]

DOCUMENT_FINDING: Schema = record(
    {
        "file": (TEXT, "The document."),
        "line": (INTEGER, "Number of the line, from 1."),
        "rule": (one_of(tuple(RULES)), "The rule's name."),
        "message": (TEXT, "What is wrong."),
    }
)

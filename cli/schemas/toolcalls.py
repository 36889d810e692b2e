"""Documents of data toolcalls."""

from __future__ import annotations

from .shape import INTEGER, TEXT, Schema, listed, mapping, nullable, one_of, record

__all__ = ["TOOLCALLS"]

_TOKENS: Schema = record(
    {
        "total": (INTEGER, "Of all examples."),
        "p50": (INTEGER, "Of the median example."),
        "p95": (INTEGER, "What 95 % of the examples do not exceed."),
        "longest": (INTEGER, "Of the longest one."),
    }
)
_PART: Schema = record(
    {
        "examples": (INTEGER, "Examples."),
        "functions": (INTEGER, "Different functions that they offer."),
        "without_parameters": (INTEGER, "Those that take no arguments."),
        "calls": (INTEGER, "Calls."),
        "without_calls": (INTEGER, "Examples in which nothing is called."),
        "several_calls": (INTEGER, "Examples in which one answer has several calls."),
        "tokens": (nullable(_TOKENS), "Tokens by the chat template; null without --tokenizer."),
    }
)
_PARTS = ("train", "valid", "test")

TOOLCALLS: Schema = record(
    {
        "folder": (TEXT, "Where the examples are."),
        "formats": (mapping(TEXT), "Format of each file."),
        "rows": (INTEGER, "Rows that were read."),
        "parts": (
            record({part: (_PART, f"What {part}.jsonl holds.") for part in _PARTS}),
            "Parts.",
        ),
        "rejected": (mapping(INTEGER), "Rows that were left out, by reason."),
        "split": (
            record(
                {
                    "by": (one_of(("offered", "called")), "Functions that no two parts share."),
                    "seed": (INTEGER, "Seed of the split."),
                    "components": (mapping(INTEGER), "Groups of examples that share functions."),
                    "largest": (INTEGER, "Examples of the largest group."),
                }
            ),
            "What is for what.",
        ),
        "notes": (listed(TEXT), "What to know about the parts."),
        "outputs": (mapping(TEXT), "SHA-256 of each file."),
    }
)

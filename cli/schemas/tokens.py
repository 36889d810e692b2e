"""Documents of data tokenize."""

from __future__ import annotations

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, mapping, one_of, record

__all__ = ["TOKENS"]

_SPLIT: Schema = record(
    {
        "documents": (INTEGER, "Documents."),
        "bytes": (INTEGER, "Bytes of their text."),
        "tokens": (INTEGER, "Their tokens, with one at the end of each document."),
        "bytes_per_token": (NUMBER, "Bytes of text for each token."),
    }
)

TOKENS: Schema = record(
    {
        "folder": (TEXT, "Where the tokens are."),
        "fingerprint": (TEXT, "SHA-256 of the tokens and the tokenizer."),
        "sources": (listed(TEXT), "The sources as they were named."),
        "vocabulary": (INTEGER, "Tokens that there are."),
        "splits": (
            record({"train": (_SPLIT, "For training."), "validation": (_SPLIT, "For validation.")}),
            "What is for what.",
        ),
        "dropped": (mapping(INTEGER), "Documents and rows that were left out, by reason."),
        "notes": (listed(TEXT), "What to know about the splits and the rows without text."),
        "exact_round_trip": (FLAG, "Whether a sample of difficult texts comes back."),
        "dtype": (one_of(("uint16", "uint32")), "Type of a token on the disk."),
    }
)

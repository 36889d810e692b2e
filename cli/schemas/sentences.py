"""Documents about mixtures of experts and series in words."""

from __future__ import annotations

from .shape import TEXT, Schema, listed, one_of, record

__all__ = ["SENTENCES"]

SENTENCES: Schema = record(
    {
        "kind": (one_of(("moe-stats", "moe-signals", "graft", "series")), "What it is."),
        "run": (TEXT, "The run, or the folder of the graft or series."),
        "sentences": (listed(TEXT), "What its page says in words."),
    }
)

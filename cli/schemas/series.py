"""Documents of `series`."""

from __future__ import annotations

from .findings import FINDING
from .shape import INTEGER, NUMBER, TEXT, Schema, listed, one_of, record

__all__ = ["SERIES"]

SERIES: Schema = record(
    {
        "folder": (TEXT, "The folder of the series."),
        "steps": (
            listed(
                record(
                    {
                        "step": (INTEGER, "Its training step."),
                        "name": (TEXT, "Its folder, file or revision."),
                        "state": (
                            one_of(("measured", "kept", "skipped")),
                            "measured now, kept from an earlier call, or skipped until the next.",
                        ),
                        "reason": (TEXT, "Why it is skipped, or what is wrong; else empty."),
                        "seconds": (NUMBER, "Of the measurement now; 0 without."),
                    }
                )
            ),
            "The checkpoints, by step.",
        ),
        "measured": (INTEGER, "Checkpoints that were measured now."),
        "kept": (INTEGER, "Checkpoints of earlier calls."),
        "skipped": (INTEGER, "Checkpoints that are left for the next call."),
        "left_out": (
            listed(record({"name": (TEXT, "Its name."), "reason": (TEXT, "Why it is none.")})),
            "What looks like a checkpoint and is not taken for one.",
        ),
        "findings": (
            listed(FINDING),
            "What happened when, by step; then trends. `evidence` has `step`, `previous`, `column` "
            "and `changes`: tensor, before, after, score.",
        ),
        "files": (listed(TEXT), "The tables."),
    }
)

"""The document of `runs export`."""

from __future__ import annotations

from .shape import INTEGER, TEXT, Schema, listed, record

__all__ = ["RUNS_EXPORTED"]

RUNS_EXPORTED: Schema = record(
    {
        "to": (TEXT, "The tool."),
        "written": (
            listed(
                record(
                    {
                        "id": (TEXT, "Of the run, as `runs list` has it."),
                        "folder": (TEXT, "The run folder."),
                        "path": (TEXT, "What was written: a folder, a table or the store."),
                        "steps": (INTEGER, "Steps; 0 where the final numbers are all."),
                        "send": (TEXT, "The command that sends it to W&B; else empty."),
                    }
                )
            ),
            "Runs that are there now.",
        ),
        "failed": (
            listed(
                record(
                    {
                        "run": (TEXT, "As it was named."),
                        "reason": (TEXT, "Why it was not written."),
                        "remedy": (TEXT, "What to do about it."),
                    }
                )
            ),
            "Others; the exit code is 1.",
        ),
        "show": (TEXT, "The command that shows them; or empty."),
    }
)

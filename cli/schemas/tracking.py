"""Documents of `runs export` and `runs sweep`."""

from __future__ import annotations

from .shape import INTEGER, NUMBER, TEXT, Schema, listed, mapping, nullable, record

__all__ = ["RUNS_EXPORTED", "SWEEP"]

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

_OUTCOME: dict[str, tuple[Schema, str]] = {
    "trial": (INTEGER, "Its number, from 1."),
    "state": (TEXT, "finished, failed, or waiting with --dry-run."),
    "value": (nullable(NUMBER), "The metric that counts."),
    "seconds": (nullable(NUMBER), "What it took."),
    "settings": (mapping(TEXT), "Its parameters."),
    "folder": (TEXT, "Its run folder."),
    "reason": (TEXT, "Why it failed; else empty."),
}

SWEEP: Schema = record(
    {
        "folder": (TEXT, "The folder of the sweep."),
        "metric": (TEXT, "The final number that counts."),
        "direction": (TEXT, "min or max: which is the better."),
        "best": (nullable(record(_OUTCOME)), "The best trial; null where none has the metric."),
        "trials": (
            listed(record({**_OUTCOME, "command": (listed(TEXT), "The command.")})),
            "All trials.",
        ),
        "page": (nullable(TEXT), "The page; null with --dry-run."),
    }
)

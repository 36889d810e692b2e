"""Documents of `runs`: lists, comparisons and what is done to runs."""

from __future__ import annotations

from .shape import ANYTHING, FLAG, INTEGER, NUMBER, TEXT, Schema, listed, mapping, nullable, record

__all__ = ["EXPERIMENT", "RUN_SCAN"]

_PATHS = listed(TEXT)
_TROUBLES = listed(
    record({"path": (TEXT, "File or folder."), "why": (TEXT, "What is the matter.")})
)

EXPERIMENT: Schema = record(
    {
        "id": (TEXT, "12 hex digits, which stay when the folder is moved."),
        "kind": (TEXT, "What made it: `train`, `analyze`, `moe-stats` ..."),
        "name": (TEXT, "The folder's name; of one named by its time, the model's before it."),
        "state": (TEXT, "finished, stopped early, interrupted, running or damaged."),
        "reason": (TEXT, "Why it is damaged; empty if it is not."),
        "missing": (FLAG, "Whether its folder is gone."),
        "folder": (TEXT, "The run folder."),
        "marker": (TEXT, "The file by which it was recognised."),
        "models": (TEXT, "Names of the models that it came from."),
        "created_at": (TEXT, "When it was made, ISO 8601 in UTC; empty if unknown."),
        "seconds": (nullable(NUMBER), "What it took."),
        "version": (TEXT, "Of mlx-probe; empty if unknown."),
        "code": (TEXT, "Commit of the work tree that it ran from; empty if unknown."),
        "command": (listed(TEXT), "The command; empty if unknown."),
        "working_folder": (TEXT, "Where the command ran; empty if unknown."),
        "inputs": (
            listed(
                record(
                    {
                        "role": (TEXT, "model, base, teacher, adapter, data, drafter ..."),
                        "name": (TEXT, "As the user knows it."),
                        "revision": (TEXT, "Of the Hub; empty for none."),
                        "path": (TEXT, "Absolute path; empty if unknown."),
                        "sha256": (TEXT, "Hash of its content, or fingerprint; or empty."),
                    }
                )
            ),
            "What it came from.",
        ),
        "outputs": (_PATHS, "Checkpoints that it wrote."),
        "tags": (listed(TEXT), "The user's tags."),
        "note": (TEXT, "The user's note."),
        "found_at": (TEXT, "When a scan first saw it, ISO 8601."),
        "config": (mapping(ANYTHING), "Settings by `section.key`."),
        "metrics": (mapping(NUMBER), "Final numbers by name."),
    }
)

RUN_SCAN: Schema = record(
    {
        "searched": (_PATHS, "Where it looked."),
        "added": (_PATHS, "New runs, each by the file by which it was recognised."),
        "changed": (_PATHS, "Runs that were read again and are not as before."),
        "moved": (_PATHS, "Runs that were elsewhere before."),
        "unchanged": (INTEGER, "Number of the others."),
        "missing": (_PATHS, "Runs that are gone since the last scan."),
        "damaged": (_TROUBLES, "Runs that cannot be read."),
        "troubles": (_TROUBLES, "Folders that could not be searched."),
    }
)

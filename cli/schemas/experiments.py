"""Documents of `runs`: lists, comparisons and what is done to runs."""

from __future__ import annotations

from .shape import (
    ANYTHING,
    FLAG,
    INTEGER,
    NUMBER,
    TEXT,
    Schema,
    listed,
    mapping,
    nullable,
    one_of,
    record,
)

__all__ = [
    "BEST_RUN",
    "BIN_ENTRIES",
    "EXPERIMENT",
    "LINEAGE",
    "REMOVALS",
    "RESTORED",
    "RUNS_COMPARED",
    "RUNS_DIFFERENCE",
    "RUNS_FORGOTTEN",
    "RUN_NOTED",
    "RUN_SCAN",
]

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

_ID = (TEXT, "The run's id.")
_NAME = (TEXT, "Its name.")
_HEAD = record(
    {
        "id": _ID,
        "kind": (TEXT, "What made it."),
        "name": _NAME,
        "state": (TEXT, "Its state."),
        "created_at": (TEXT, "When it was made, ISO 8601 in UTC."),
        "folder": (TEXT, "The run folder."),
    }
)

RUNS_COMPARED: Schema = record(
    {
        "runs": (listed(_HEAD), "The runs, as they were named; a run that was named twice once."),
        "differing": (
            mapping(listed(ANYTHING)),
            "Settings that not all share: a value for each run, null where it has none.",
        ),
        "same": (mapping(ANYTHING), "Settings that all share."),
        "metrics": (
            mapping(listed(nullable(NUMBER))),
            "Final numbers: a value for each run, null where it has none.",
        ),
        "page": (nullable(TEXT), "The page that was written."),
    }
)

_PAIRS = listed(
    record(
        {
            "name": (TEXT, "Key, role or name."),
            "a": (ANYTHING, "In the first run; null where it has none."),
            "b": (ANYTHING, "In the second."),
        }
    )
)

RUNS_DIFFERENCE: Schema = record(
    {
        "a": (_HEAD, "The first run."),
        "b": (_HEAD, "The second run."),
        "config": (_PAIRS, "Settings that differ."),
        "environment": (_PAIRS, "Version, code, command, packages and machine that differ."),
        "inputs": (_PAIRS, "What they came from, by role, that differs."),
        "metrics": (
            listed(
                record(
                    {
                        "name": (TEXT, "Of a final number."),
                        "a": (nullable(NUMBER), "In the first run."),
                        "b": (nullable(NUMBER), "In the second."),
                        "better": (one_of(("", "a", "b")), "Empty if nobody can say."),
                    }
                )
            ),
            "Final numbers that differ.",
        ),
        "same": (mapping(INTEGER), "Number of equal values in each of the four parts."),
    }
)

BEST_RUN: Schema = record(
    {
        "metric": (TEXT, "What counted."),
        "direction": (one_of(("min", "max")), "Which is the better."),
        "value": (NUMBER, "The best value."),
        "runs": (listed(EXPERIMENT), "The runs that have it; several are a tie."),
        "ranked": (
            listed(record({"id": _ID, "value": (NUMBER, "Its value.")})),
            "All runs that have the metric, the best first.",
        ),
        "missing": (INTEGER, "Runs that match and do not have the metric."),
    }
)

RUN_NOTED: Schema = record(
    {
        "id": _ID,
        "name": _NAME,
        "note": (TEXT, "The note, as it is now."),
        "tags": (listed(TEXT), "The tags, as they are now."),
    }
)

LINEAGE: Schema = record(
    {
        "nodes": (
            listed(
                record(
                    {
                        "key": (TEXT, "Its name in this document."),
                        "kind": (one_of(("run", "model", "data")), "What it is."),
                        "label": (TEXT, "What it is called."),
                        "paths": (_PATHS, "Where it is; of a run its folder."),
                        "gone": (FLAG, "Whether it was on this disk and is not any more."),
                        "run": (nullable(TEXT), "A run's id."),
                        "run_kind": (nullable(TEXT), "What made the run."),
                        "code": (TEXT, "Commit of the code that ran; empty if unknown."),
                        "version": (TEXT, "Of mlx-probe; empty if unknown."),
                    }
                )
            ),
            "Runs, and what they read and wrote.",
        ),
        "edges": (
            listed(
                record(
                    {
                        "source": (TEXT, "Key of a node."),
                        "target": (TEXT, "Key of a node."),
                        "role": (TEXT, "base, data ...; `wrote` from a run."),
                    }
                )
            ),
            "From what was read to the run, and from the run to what it wrote.",
        ),
        "chosen": (listed(TEXT), "Keys of what was named."),
        "page": (nullable(TEXT), "The page that was written."),
    }
)

REMOVALS: Schema = listed(
    record(
        {
            "id": _ID,
            "name": _NAME,
            "folder": (TEXT, "The run folder."),
            "size": (INTEGER, "Bytes of its files."),
            "runs": (listed(TEXT), "Ids of all runs in it."),
            "reasons": (listed(TEXT), "Why it may not be moved; empty if it may."),
            "moved": (FLAG, "Whether it was moved to the bin."),
        }
    )
)

RESTORED: Schema = record({"folder": (TEXT, "Where the folder is again.")})

BIN_ENTRIES: Schema = listed(
    record(
        {
            "token": (TEXT, "Its name in the bin."),
            "origin": (TEXT, "Where it was."),
            "folder": (TEXT, "Where it is; after --empty, where it was."),
            "state": (TEXT, "binned, or emptying where a deletion was interrupted."),
            "size": (INTEGER, "Bytes of its files."),
            "created_at": (TEXT, "When it was removed, ISO 8601."),
            "missing": (FLAG, "Whether it is gone from the bin."),
            "runs": (
                listed(record({"id": _ID, "name": _NAME, "kind": (TEXT, "What made it.")})),
                "The runs in it.",
            ),
        }
    )
)

RUNS_FORGOTTEN: Schema = record(
    {
        "forgotten": (listed(record({"id": _ID, "name": _NAME})), "Runs that were removed."),
        "folders": (listed(TEXT), "Folders that are not searched any more."),
    }
)

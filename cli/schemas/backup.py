"""Documents of the commands of backups."""

from __future__ import annotations

from .shape import FLAG, INTEGER, TEXT, Schema, listed, mapping, nullable, one_of, record

__all__ = ["CREATED", "DRILL", "PRUNED", "RESTORED", "SCHEDULED", "SNAPSHOT", "VERIFIED"]

_ID = (TEXT, "The snapshot's id.")
_TIME = (TEXT, "When it was begun, ISO 8601 in UTC.")
_REPO = (TEXT, "Folder of the archive.")
_KIND = (one_of(["own", "restic"]), "Format of the archive.")
_SIZE = (INTEGER, "Bytes.")
_HASH = (TEXT, "SHA-256 of the content.")
_ORIGIN = (mapping(TEXT), "Where it can be fetched: model, revision, url; empty if unknown.")
_PATH = (TEXT, "Below the base.")
_TROUBLES = listed(record({"path": (TEXT, "The file."), "why": (TEXT, "What is the matter.")}))

_OF_SNAPSHOT = {
    "id": _ID,
    "time": _TIME,
    "base": (TEXT, "The folder that the restored paths were below."),
    "paths": (listed(TEXT), "What was backed up."),
    "files": (nullable(INTEGER), "Files that are stored; null if the archive does not say."),
    "size": (nullable(INTEGER), "Their bytes."),
    "weights": (nullable(INTEGER), "Weight files of which only path and hash are kept."),
    "weight_bytes": (nullable(INTEGER), "Their bytes."),
    "left_out": (nullable(INTEGER), "Files that could not be read whole."),
}

SNAPSHOT: Schema = record(_OF_SNAPSHOT)

CREATED: Schema = record(
    {
        **_OF_SNAPSHOT,
        "repo": _REPO,
        "kind": _KIND,
        "read": (INTEGER, "Files that were read: the others have not changed."),
        "added": (INTEGER, "Bytes that the archive grew by."),
        "not_whole": (
            listed(
                record(
                    {
                        "path": (TEXT, "The file."),
                        "why": (TEXT, "What is the matter."),
                        "is_lost": (FLAG, "Whether content is missing; sockets have none."),
                    }
                )
            ),
            "Files that are not in it, or changed while they were read.",
        ),
        "not_stored": (
            listed(record({"path": _PATH, "size": _SIZE, "sha256": _HASH, "origin": _ORIGIN})),
            "Weight files of which only path and hash are kept.",
        ),
    }
)

VERIFIED: Schema = record(
    {
        "repo": _REPO,
        "kind": _KIND,
        "sound": (FLAG, "Whether nothing is damaged."),
        "damage": (
            listed(
                record(
                    {
                        "file": (TEXT, "The damaged or missing file."),
                        "why": (TEXT, "What is the matter."),
                        "concerns": (listed(TEXT), "Snapshots and paths that need it, the first."),
                        "others": (INTEGER, "Number of further ones."),
                    }
                )
            ),
            "What is damaged.",
        ),
        "notes": (listed(TEXT), "Files that no snapshot needs, or that are not of the archive."),
        "snapshots": (INTEGER, "Whole snapshots."),
        "files": (INTEGER, "Files that were read."),
        "size": _SIZE,
    }
)

RESTORED: Schema = record(
    {
        "snapshot": _ID,
        "base": (TEXT, "The folder that the paths were below."),
        "out": (TEXT, "The folder that they are below now."),
        "files": (INTEGER, "Files that were written and checked."),
        "size": _SIZE,
        "lost": (_TROUBLES, "With --skip-damaged: files that the archive has no whole copy of."),
        "not_stored": (
            listed(
                record(
                    {
                        "path": (TEXT, "Where it was."),
                        "size": _SIZE,
                        "sha256": _HASH,
                        "state": (
                            one_of(["there", "changed", "missing"]),
                            "Whether it is there still, by its hash.",
                        ),
                        "origin": _ORIGIN,
                    }
                )
            ),
            "Weight files that have to be fetched unless they are there.",
        ),
    }
)

PRUNED: Schema = record(
    {
        "kept": (
            listed(
                record(
                    {"id": _ID, "time": _TIME, "rules": (listed(TEXT), "The rules that keep it.")}
                )
            ),
            "Snapshots that stay.",
        ),
        "removed": (listed(record({"id": _ID, "time": _TIME})), "The others."),
        "freed": (nullable(INTEGER), "Bytes; null if the archive does not say."),
        "done": (FLAG, "Whether they are gone; not with --dry-run."),
    }
)

DRILL: Schema = record(
    {
        "time": (TEXT, "When, ISO 8601 in UTC."),
        "seed": (INTEGER, "Give it to --seed for the same choice."),
        "snapshot": _ID,
        "files": (INTEGER, "Files that were restored and compared with their hashes."),
        "size": _SIZE,
        "same": (INTEGER, "Files that are the same on the disk."),
        "changed": (INTEGER, "Files that were written since, or are gone."),
        "failed": (_TROUBLES, "Files that differ or cannot be restored."),
        "report": (TEXT, "Where this is kept."),
        "passed": (FLAG, "Whether none failed."),
    }
)

SCHEDULED: Schema = record(
    {
        "scheduler": (one_of(["launchd", "cron"]), "Who starts the backup."),
        "label": (TEXT, "Name of the entry."),
        "entry": (TEXT, "The entry."),
        "installed": (nullable(TEXT), "Where it was installed; null if it was not."),
        "removed": (FLAG, "Whether --uninstall removed one."),
    }
)

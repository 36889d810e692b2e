"""Documents of the catalog's commands."""

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
    "CARD",
    "DEDUPE_DONE",
    "DEDUPE_PLAN",
    "DUPLICATES",
    "FORGOTTEN",
    "MODEL",
    "NOTED",
    "SCAN",
    "SHOWN",
    "SPACE",
    "SPACE_MOVED",
]

_KEY = (TEXT, "The model's key in the catalog.")
_ID = (TEXT, "Its name.")
_TROUBLES = listed(
    record({"path": (TEXT, "File or folder."), "why": (TEXT, "What is the matter.")})
)

MODEL: Schema = record(
    {
        "key": _KEY,
        "id": _ID,
        "revision": (TEXT, 'Commit, version, or "local".'),
        "store": (TEXT, "Where it is kept."),
        "path": (TEXT, "What to give to `mlx-probe analyze`."),
        "format": (TEXT, "File format; empty if unreadable."),
        "architecture": (TEXT, "Family name; empty if unknown."),
        "shape": (mapping(INTEGER), "Numbers of the network."),
        "parameters": (nullable(INTEGER), "Elements."),
        "dtype": (TEXT, "Stored type of most elements."),
        "dtypes": (mapping(INTEGER), "Elements by stored type."),
        "bits": (nullable(NUMBER), "Stored bits for each element."),
        "size": (INTEGER, "Bytes of its files."),
        "licence": (TEXT, "As its publisher names it."),
        "url": (TEXT, "Where it was published."),
        "base_models": (listed(TEXT), "Models that it was made from."),
        "adapter": (TEXT, "Kind of adapter; empty for a model."),
        "description": (TEXT, "Beginning of its model card."),
        "problem": (TEXT, "Why it could not be read; empty if it could."),
        "missing": (FLAG, "Whether its files are gone."),
        "found_at": (TEXT, "When a scan first saw it, ISO 8601."),
        "modified_at": (TEXT, "When its weights were last written, ISO 8601."),
        "analyzed_at": (TEXT, "When it was last analysed; empty if never."),
        "note": (TEXT, "The user's note."),
        "tags": (listed(TEXT), "The user's tags."),
        "files": (
            listed(
                record(
                    {
                        "path": (TEXT, "The file."),
                        "role": (TEXT, "weights, other weights, index, config or card."),
                        "size": (INTEGER, "Bytes."),
                        "mtime_ns": (INTEGER, "When it was last written, nanoseconds."),
                        "sha256": (TEXT, "Its hash; empty if unknown."),
                    }
                )
            ),
            "Its files.",
        ),
        "runs": (
            listed(mapping(ANYTHING)),
            "Finished runs over it, newest first: path, kind, created_at, and what they took.",
        ),
    }
)

_KIN = record(
    {
        "key": (TEXT, "The other model's key."),
        "relation": (TEXT, "How both are related, by their weights."),
        "probability": (NUMBER, "Probability of the relation."),
        "role": (
            one_of(("origin", "descendant", "")),
            "What the other one is for this one; empty if not known.",
        ),
        "measured_at": (TEXT, "When they were compared, ISO 8601."),
    }
)
SHOWN: Schema = {
    **MODEL,
    "properties": {
        **MODEL["properties"],
        "kin": {
            **listed(_KIN),
            "description": "Related models, by `mlx-probe lineage --catalog` over these files.",
        },
    },
    "required": [*MODEL["required"], "kin"],
}

SCAN: Schema = record(
    {
        "looked": (
            listed(record({"store": (TEXT, "Store."), "folder": (TEXT, "Folder.")})),
            "Where it looked.",
        ),
        "added": (listed(MODEL), "New models, as `catalog show` prints them."),
        "changed": (listed(MODEL), "Models that were read again."),
        "unchanged": (INTEGER, "Number of the others."),
        "missing": (listed(MODEL), "Models whose files are gone since the last scan."),
        "troubles": (_TROUBLES, "What could not be searched."),
        "runs": (INTEGER, "Finished runs."),
    }
)

CARD: Schema = record(
    {
        "key": _KEY,
        "id": _ID,
        "out": (nullable(TEXT), "The file that was written."),
        "card": (TEXT, "The card, Markdown."),
    }
)

NOTED: Schema = record(
    {
        "key": _KEY,
        "id": _ID,
        "note": (TEXT, "The note, as it is now."),
        "tags": (listed(TEXT), "The tags, as they are now."),
    }
)

FORGOTTEN: Schema = record(
    {
        "forgotten": (listed(record({"key": _KEY, "id": _ID})), "Models that were removed."),
        "folders": (listed(TEXT), "Folders that are not searched any more."),
    }
)

DUPLICATES: Schema = record(
    {
        "groups": (
            listed(
                record(
                    {
                        "sha256": (TEXT, "Hash of the content."),
                        "size": (INTEGER, "Bytes of one copy."),
                        "saves": (INTEGER, "Bytes that linking would free."),
                        "copies": (
                            listed(
                                record(
                                    {
                                        "paths": (listed(TEXT), "Names of one file."),
                                        "store": (TEXT, "Where it is kept."),
                                        "models": (listed(TEXT), "Models that have it."),
                                    }
                                )
                            ),
                            "The first is the one that dedupe keeps.",
                        ),
                    }
                )
            ),
            "Files with the same content.",
        ),
        "saves": (INTEGER, "Bytes that linking would free."),
        "compared": (INTEGER, "Files of equal size that were compared."),
        "hashed": (INTEGER, "Files that were read for it."),
        "troubles": (_TROUBLES, "Files that could not be read."),
    }
)

DEDUPE_PLAN: Schema = record(
    {
        "symbolic": (FLAG, "Whether the links are symbolic."),
        "saves": (INTEGER, "Bytes."),
        "links": (
            listed(
                record(
                    {
                        "path": (TEXT, "File that becomes a link."),
                        "keeper": (TEXT, "File that it leads to."),
                        "size": (INTEGER, "Bytes."),
                    }
                )
            ),
            "What would be done.",
        ),
        "skipped": (_TROUBLES, "Files that stay as they are."),
    }
)

DEDUPE_DONE: Schema = record(
    {
        "changed": (listed(TEXT), "Files that were replaced."),
        "saved": (INTEGER, "Bytes that were freed; by undo, used."),
        "skipped": (_TROUBLES, "Files that stay as they are."),
    }
)

SPACE: Schema = record(
    {
        "places": (
            listed(
                record(
                    {
                        "title": (TEXT, "Whose folder it is."),
                        "folder": (TEXT, "The folder."),
                        "files": (INTEGER, "Files; several names of one file count once."),
                        "size": (INTEGER, "Bytes of the disk."),
                        "free": (INTEGER, "Bytes that are free on its disk."),
                    }
                )
            ),
            "What takes how much; empty with --remove.",
        ),
        "kinds": (
            listed(
                record(
                    {
                        "kind": (TEXT, "What it is."),
                        "count": (INTEGER, "Items."),
                        "size": (INTEGER, "Bytes of their files."),
                        "frees": (INTEGER, "Bytes of the disk that would be free."),
                        "why": (TEXT, "Why it is safe."),
                        "command": (TEXT, "What frees it."),
                    }
                )
            ),
            "Sums.",
        ),
        "items": (
            listed(
                record(
                    {
                        "kind": (TEXT, "Its kind."),
                        "name": (TEXT, "What it is."),
                        "paths": (listed(TEXT), "Files, links and folders that would go."),
                        "size": (INTEGER, "Bytes of the files."),
                        "frees": (INTEGER, "Bytes of the disk that would be free."),
                        "why": (TEXT, "Why it is safe."),
                    }
                )
            ),
            "What may go, the largest first; all of it, unless --limit is given.",
        ),
        "frees": (INTEGER, "Bytes of the disk that all of it would free."),
        "kept": (
            listed(
                record(
                    {
                        "kind": (TEXT, "Its kind."),
                        "path": (TEXT, "What stays."),
                        "why": (TEXT, "What needs it."),
                    }
                )
            ),
            "What stays although it is of these kinds.",
        ),
        "runs": (INTEGER, "Runs whose inputs are known."),
        "troubles": (_TROUBLES, "What cannot be read or is not understood, and stays."),
    }
)

SPACE_MOVED: Schema = record(
    {
        "batch": (TEXT, "What to give to --restore; empty if nothing was moved."),
        "paths": (listed(TEXT), "What was moved or deleted, by where it belongs."),
        "size": (INTEGER, "Bytes of the disk that this frees when the bin is emptied."),
        "skipped": (_TROUBLES, "What stays as it was."),
    }
)

"""Documents of download and verify."""

from __future__ import annotations

from .shape import FLAG, INTEGER, TEXT, Schema, listed, nullable, record

__all__ = ["DOWNLOAD", "VERIFICATION"]

DOWNLOAD: Schema = record(
    {
        "source": (TEXT, "Kind of reference: hub, pypi, url, local."),
        "model": (TEXT, "Name."),
        "revision": (TEXT, "Exact commit or version."),
        "folder": (TEXT, "Where the files go."),
        "size": (INTEGER, "Bytes of all files."),
        "to_fetch": (INTEGER, "Bytes that were not there."),
        "free": (nullable(INTEGER), "Free bytes there."),
        "files": (
            listed(
                record(
                    {
                        "name": (TEXT, "Name below the folder."),
                        "size": (INTEGER, "Bytes."),
                        "to_fetch": (INTEGER, "Bytes that were not there."),
                        "state": (TEXT, "What was there."),
                    }
                )
            ),
            "Every file.",
        ),
        "received": (INTEGER, "Bytes that came; not with --dry-run."),
        "manifest": (TEXT, "The manifest; not with --dry-run."),
        "log": (TEXT, "The log; not with --dry-run."),
    },
    optional=("received", "manifest", "log"),
)

VERIFICATION: Schema = record(
    {
        "folder": (TEXT, "The model's folder."),
        "against": (TEXT, "What the files were compared with."),
        "received": (INTEGER, "Bytes that --repair fetched."),
        "files": (
            listed(
                record(
                    {
                        "name": (TEXT, "Name below the folder."),
                        "size": (nullable(INTEGER), "Bytes."),
                        "problem": (TEXT, "What is wrong; empty if nothing."),
                        "repaired": (FLAG, "Whether --repair fetched it again."),
                    }
                )
            ),
            "Every file.",
        ),
    }
)

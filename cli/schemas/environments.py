"""Documents of the commands of environments."""

from __future__ import annotations

from .shape import INTEGER, NUMBER, TEXT, Schema, listed, mapping, nullable, one_of, record

__all__ = [
    "ENVIRONMENTS",
    "ENVIRONMENT_CHECKED",
    "ENVIRONMENT_DESCRIBED",
    "ENVIRONMENT_LOCKED",
    "ENVIRONMENT_MADE",
]

_STATUS = one_of(("ok", "warning", "error"))
_NAME = (TEXT, "Its name.")
_TEMPLATE = (TEXT, "Name of the template that it was made from.")
_MAKER = (TEXT, "What made it: uv, venv or conda.")
_PYTHON = (TEXT, "Version of its Python.")
_PLATFORM = (TEXT, "System and instruction set.")
_PACKAGES = (mapping(TEXT), "Version of each package, by normalized name.")

ENVIRONMENTS: Schema = listed(
    record(
        {
            "name": _NAME,
            "folder": (TEXT, "Where it is."),
            "state": (
                one_of(
                    ("ready", "no-python", "being made", "interrupted", "damaged"),
                ),
                "What can be said without starting it.",
            ),
            "template": (TEXT, "Name of its template; empty if it is not finished."),
            "maker": (TEXT, "What made it; empty if it is not finished."),
            "python": (TEXT, "Version of its Python; empty if it is not finished."),
            "made": (TEXT, "When, ISO 8601; empty if it is not finished."),
            "packages": (INTEGER, "Installed packages."),
            "size": (INTEGER, "Bytes of its files on this disk."),
            "checked": (TEXT, "When it was last checked, ISO 8601; empty if never."),
            "status": (one_of(("", "ok", "warning", "error")), "What that has shown."),
        }
    )
)

ENVIRONMENT_MADE: Schema = record(
    {
        "name": _NAME,
        "folder": (TEXT, "Where it is."),
        "template": _TEMPLATE,
        "template_sha256": (TEXT, "Hash of the template's content."),
        "maker": _MAKER,
        "python": _PYTHON,
        "platform": _PLATFORM,
        "lock": (nullable(TEXT), "The lock file that it was made from; null for none."),
        "packages": _PACKAGES,
        "size": (INTEGER, "Bytes of its files on this disk."),
        "seconds": (NUMBER, "What it took."),
    }
)

ENVIRONMENT_LOCKED: Schema = record(
    {
        "name": _NAME,
        "out": (TEXT, "The lock file."),
        "python": _PYTHON,
        "platform": _PLATFORM,
        "template": _TEMPLATE,
        "packages": _PACKAGES,
        "hashed": (INTEGER, "Packages whose files have known hashes."),
    }
)

ENVIRONMENT_CHECKED: Schema = record(
    {
        "status": (_STATUS, "The worst outcome; skipped ones do not count."),
        "name": _NAME,
        "template": _TEMPLATE,
        "maker": _MAKER,
        "python": (TEXT, "Version of its Python when it was made."),
        "platform": _PLATFORM,
        "checked": (TEXT, "When, ISO 8601."),
        "outcomes": (
            listed(
                record(
                    {
                        "check": (TEXT, "What was looked at."),
                        "status": (one_of(("ok", "warning", "error", "skipped")), "The outcome."),
                        "fact": (TEXT, "What was seen."),
                        "remedy": (TEXT, "What to do; empty if nothing."),
                        "version": (TEXT, "Version of what was tried; empty if that is nothing."),
                    }
                )
            ),
            "In order.",
        ),
        "packages": _PACKAGES,
    }
)

ENVIRONMENT_DESCRIBED: Schema = record(
    {
        "out": (nullable(TEXT), "The document's file; null without --out."),
        "name": _NAME,
        "folder": (TEXT, "Where it is."),
        "template": _TEMPLATE,
        "template_sha256": (TEXT, "Hash of the template's content."),
        "maker": _MAKER,
        "made": (TEXT, "When, ISO 8601."),
        "lock": (nullable(TEXT), "The lock file that it was made from; null for none."),
        "python": (TEXT, "Version of its Python when it was made."),
        "platform": _PLATFORM,
        "size": (INTEGER, "Bytes of its files on this disk."),
        "packages": (
            listed(
                record(
                    {
                        "name": (TEXT, "Normalized name."),
                        "title": (TEXT, "Name as its makers write it."),
                        "version": (TEXT, "Version."),
                        "summary": (TEXT, "What it is."),
                        "licence": (TEXT, "Licence; empty if it names none."),
                        "home": (TEXT, "Where it is described; empty if it does not say."),
                        "size": (INTEGER, "Bytes of its files, as they are recorded."),
                        "files": (INTEGER, "Recorded files."),
                        "origin": (TEXT, "Folder or repository it came from; empty for an index."),
                    }
                )
            ),
            "What is installed, by name.",
        ),
        "check": (nullable(ENVIRONMENT_CHECKED), "What the last check has shown; null for none."),
    }
)

"""Documents about documents: what a check found."""

from __future__ import annotations

from mlx_probe.library.documents.assistant_rules import ASSISTANTS
from mlx_probe.library.documents.project import KINDS
from mlx_probe.library.documents.rules import RULES

from .shape import FLAG, INTEGER, TEXT, Schema, listed, one_of, record

__all__ = [
    "ASSISTANT_RULES",
    "DOCUMENT_FINDING",
    "DOCUMENT_HIT",
    "DOCUMENT_INDEX",
    "DOCUMENT_LOG",
    "DOCUMENT_PROJECT",
    "NEW_DOCUMENT",
    "NOTEBOOK_DOCUMENT",
]

_STATES = ("current", "missing", "older", "edited", "left over", "another's")

DOCUMENT_FINDING: Schema = record(
    {
        "file": (TEXT, "The document."),
        "line": (INTEGER, "Number of the line, from 1."),
        "rule": (one_of(tuple(RULES)), "The rule's name."),
        "message": (TEXT, "What is wrong."),
    }
)

DOCUMENT_PROJECT: Schema = record(
    {
        "project": (TEXT, "Its folder."),
        "language": (TEXT, "Language of its templates."),
        "made": (listed(TEXT), "Files that were made; none of them was there before."),
    }
)

NEW_DOCUMENT: Schema = record(
    {
        "file": (TEXT, "The document."),
        "kind": (one_of(tuple(KINDS)), "Its kind."),
        "id": (TEXT, "Its id."),
        "date": (TEXT, "Its date, ISO 8601."),
        "figures": (listed(TEXT), "Plots that were drawn for it."),
    }
)

NOTEBOOK_DOCUMENT: Schema = record(
    {
        "file": (TEXT, "The document."),
        "figures": (listed(TEXT), "Plots of the notebook."),
    }
)

DOCUMENT_INDEX: Schema = record(
    {
        "index": (TEXT, "The page with the list."),
        "changed": (FLAG, "Whether it was not up to date."),
        "documents": (
            listed(
                record(
                    {
                        "file": (TEXT, "The document."),
                        "kind": (one_of(tuple(KINDS)), "Its kind."),
                        "title": (TEXT, "Its title."),
                        "date": (TEXT, "Its date; empty without one."),
                        "status": (TEXT, "Its status: draft, finished, superseded, or another."),
                    }
                )
            ),
            "By kind, the latest first.",
        ),
    }
)

DOCUMENT_LOG: Schema = record(
    {"log": (TEXT, "The log."), "at": (TEXT, "Date and time of the line, ISO 8601.")}
)

ASSISTANT_RULES: Schema = record(
    {
        "source": (TEXT, "The page of rules."),
        "written": (listed(TEXT), "Files that were written or removed."),
        "files": (
            listed(
                record(
                    {
                        "for": (one_of(tuple(ASSISTANTS)), "The assistant."),
                        "file": (TEXT, "The file."),
                        "state": (one_of(_STATES), "How it stands to the source."),
                    }
                )
            ),
            "Files as they are now.",
        ),
    }
)

DOCUMENT_HIT: Schema = record(
    {
        "file": (TEXT, "The document."),
        "line": (INTEGER, "Number of the line, from 1."),
        "title": (TEXT, "Title of the document."),
        "heading": (TEXT, "Heading of the section; empty above the first."),
        "snippet": (TEXT, "The line, or what of it is around the words."),
        "highlights": (listed(listed(INTEGER)), "Begin and end of each word in the snippet."),
    }
)

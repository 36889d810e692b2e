"""Documents of `share`."""

from __future__ import annotations

from .shape import FLAG, INTEGER, TEXT, Schema, listed, mapping, nullable, record

__all__ = ["AUDIT", "GUESTS", "REVOKED", "SHARED", "TOKEN"]

_INVITATION = {
    "guest": (TEXT, "Whom the token is for."),
    "id": (TEXT, "Its id."),
    "created_at": (TEXT, "When it was made."),
    "expires_at": (TEXT, "When it ends."),
    "revoked_at": (nullable(TEXT), "When it was taken back; null if it was not."),
    "good": (FLAG, "Whether it opens anything now."),
}

SHARED: Schema = record(
    {
        "url": (TEXT, "Where the server listens."),
        "tokens": (FLAG, "Whether nobody may look without a token."),
        "guests": (
            listed(
                record(
                    {
                        "guest": (TEXT, "Name."),
                        "url": (TEXT, "Address with the token."),
                        "token": (TEXT, "The token, which is kept nowhere."),
                        "expires_at": (TEXT, "When it ends."),
                    }
                )
            ),
            "Those of --guest.",
        ),
        "runs": (
            listed(
                record(
                    {
                        "name": (TEXT, "What guests read."),
                        "url": (TEXT, "Its page."),
                        "folder": (TEXT, "Its folder, which guests do not see."),
                        "kind": (TEXT, "Its kind."),
                        "files": (INTEGER, "Files that guests may read beside the report."),
                        "left_out": (mapping(INTEGER), "Reasons against other files, and counts."),
                    }
                )
            ),
            "What is shared.",
        ),
        "audit": (TEXT, "The audit log."),
    }
)

TOKEN: Schema = record({**_INVITATION, "token": (TEXT, "The token, which is kept nowhere.")})

GUESTS: Schema = listed(record(_INVITATION))

REVOKED: Schema = record(
    {
        "guest": (TEXT, "The guest."),
        "revoked": (INTEGER, "Tokens that were good until now."),
    }
)

AUDIT: Schema = record(
    {
        "requests": (
            listed(
                record(
                    {
                        "time": (TEXT, "When."),
                        "guest": (TEXT, "Who; empty for nobody in particular."),
                        "address": (TEXT, "From where."),
                        "method": (TEXT, "`GET` and the like; empty if it was no request."),
                        "path": (TEXT, "What was asked for, without a token."),
                        "status": (INTEGER, "What was answered; 0 for nothing."),
                        "bytes": (INTEGER, "Bytes of the answer that were sent."),
                        "reason": (TEXT, "Why it was refused; empty if it was not."),
                    }
                )
            ),
            "The earliest first.",
        ),
        "damaged": (INTEGER, "Lines of the log that are damaged."),
    }
)

"""The document of `runs reproduce`."""

from __future__ import annotations

from .shape import FLAG, NUMBER, TEXT, Schema, listed, mapping, nullable, record

__all__ = ["REPRODUCTION"]

_DIFFERENCE: Schema = record(
    {
        "name": (TEXT, "`mlx-probe`, `code`, `package NAME`, `input NAME`, `variable NAME` ..."),
        "before": (nullable(TEXT), "Its value then."),
        "now": (nullable(TEXT), "Its value here and now."),
        "matters": (FLAG, "Whether it can change a result."),
    }
)
_COMPARED: Schema = record(
    {
        "what": (TEXT, "`metric`, `column`, `curve` or `file`."),
        "name": (TEXT, "Its name."),
        "equal": (FLAG, "Whether all of it is equal to the bit."),
        "difference": (nullable(NUMBER), "Largest difference of a number."),
        "relative": (nullable(NUMBER), "The same over the larger of both numbers."),
        "reason": (TEXT, "Why it differs where that is no number; or empty."),
    }
)
REPRODUCTION: Schema = record(
    {
        "run": (TEXT, "The file by which the run is recognised."),
        "kind": (TEXT, "What made it."),
        "command": (listed(TEXT), "Its command; empty if it is not known."),
        "working_folder": (nullable(TEXT), "Where it ran."),
        "variables": (mapping(TEXT), "Environment variables that it had and that matter."),
        "shell": (nullable(TEXT), "All of these as a line for a shell."),
        "version": (nullable(TEXT), "Of mlx-probe."),
        "code": (nullable(TEXT), "Commit of the work tree that it ran from."),
        "differences": (listed(_DIFFERENCE), "What is not as it was; what matters first."),
        "results": (
            nullable(
                record(
                    {
                        "out": (TEXT, "The run that it was compared with."),
                        "same": (FLAG, "Whether all is equal, or within the tolerance."),
                        "equal": (FLAG, "Whether all is equal to the bit."),
                        "tolerance": (NUMBER, "The tolerance."),
                        "compared": (listed(_COMPARED), "Each part; what differs first."),
                    }
                )
            ),
            "With --run and --against.",
        ),
    }
)

"""Documents of doctor, monitor and bench."""

from __future__ import annotations

from mlx_probe.runs.monitor.columns import SAMPLE_COLUMNS

from .shape import (
    ANYTHING,
    INTEGER,
    NUMBER,
    TEXT,
    Schema,
    listed,
    mapping,
    nullable,
    of_columns,
    one_of,
    record,
)

__all__ = ["BENCH", "DOCTOR", "REMOTE", "SAMPLE"]

_STATUS = one_of(("ok", "warning", "error"))

_CHECKS = (
    listed(
        record(
            {
                "check": (TEXT, "What was checked."),
                "status": (_STATUS, "The outcome."),
                "fact": (TEXT, "What was found."),
                "remedy": (TEXT, "What to do; empty if nothing."),
            }
        )
    ),
    "In order.",
)

DOCTOR: Schema = record(
    {
        "status": (_STATUS, "The worst of the checks."),
        "checks": _CHECKS,
        "facts": (mapping(ANYTHING), "All that is known about the machine."),
        "differences": (
            nullable(listed(mapping(ANYTHING))),
            "What has changed since the snapshot of --compare; null without it.",
        ),
    }
)

REMOTE: Schema = record(
    {
        "status": (_STATUS, "The worst of the checks."),
        "checks": _CHECKS,
        "remote": (
            record(
                {
                    "target": (
                        record({"host": (TEXT, "Name or number."), "port": (INTEGER, "Port.")}),
                        "What was looked at.",
                    ),
                    "lookup": (mapping(ANYTHING), "Addresses, outcome, reason, seconds."),
                    "attempts": (
                        listed(mapping(ANYTHING)),
                        "Each address with its outcome and the seconds of each connection.",
                    ),
                    "tls": (
                        nullable(mapping(ANYTHING)),
                        "The handshake; null without --tls or a connection.",
                    ),
                    "tailscale": (
                        nullable(mapping(ANYTHING)),
                        "What Tailscale here says; null where it is not installed.",
                    ),
                    "latency_seconds": (
                        nullable(NUMBER),
                        "The median of the connections; null without one.",
                    ),
                }
            ),
            "What was seen.",
        ),
    }
)

SAMPLE: Schema = of_columns(SAMPLE_COLUMNS)

BENCH: Schema = record(
    {
        "workload": (TEXT, "The model, or the shapes."),
        "matrices": (
            listed(
                record(
                    {
                        "name": (TEXT, "Name."),
                        "rows": (INTEGER, "Rows."),
                        "cols": (INTEGER, "Columns."),
                        "dtype": (TEXT, "Stored type."),
                    }
                )
            ),
            "What was computed on.",
        ),
        "repeat": (INTEGER, "Passes of each contender."),
        "environment": (mapping(ANYTHING), "Packages, processor, libraries."),
        "contenders": (
            listed(
                record(
                    {
                        "description": (TEXT, "What it is."),
                        "name": (TEXT, "Name for --contender."),
                        "version": (TEXT, "Version of its package."),
                        "device": (TEXT, "Where it works on elements."),
                        "seconds": (listed(NUMBER), "Of each pass over all matrices."),
                        "ratio": (NUMBER, "Its median over the first contender's."),
                        "compared": (INTEGER, "Matrices that the first one has as well."),
                        "sum_difference": (
                            nullable(NUMBER),
                            "Largest relative difference of the sums of singular values.",
                        ),
                        "largest_difference": (
                            nullable(NUMBER),
                            "The same of the largest singular value.",
                        ),
                        "equal_ranks": (
                            nullable(INTEGER),
                            "Matrices with the same rank; null without ranks.",
                        ),
                    }
                )
            ),
            "In the order in which they ran.",
        ),
        "left_out": (mapping(TEXT), "Contenders that did not run, and why."),
    }
)

"""Documents of `moe stats`."""

from __future__ import annotations

from typing import Any

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, mapping, nullable, one_of, record

__all__ = ["STATISTICS"]

_PLACE: dict[str, tuple[Any, str]] = {
    "layer": (nullable(INTEGER), "Number of the layer."),
    "expert": (INTEGER, "Number of the expert."),
}

STATISTICS: Schema = record(
    {
        "kind": (one_of(("moe-stats",)), "The command."),
        "run": (TEXT, "Metadata of the run."),
        "model": (TEXT, "The model."),
        "layers": (INTEGER, "Layers with experts."),
        "experts": (INTEGER, "Experts of all layers: rows of the table."),
        "rows_by_status": (mapping(INTEGER), "How many rows have which status."),
        "passed": (FLAG, "Whether every check of the run passed."),
        "failures": (listed(TEXT), "The checks that did not."),
        "complete": (FLAG, "Whether every weight has numbers."),
        "unread": (nullable(TEXT), "What has none, and why."),
        "seconds": (NUMBER, "Time of this start of the run."),
        "peak_process_memory": (INTEGER, "Bytes."),
        "outputs": (listed(TEXT), "The tables and maps."),
        "data": (nullable(TEXT), "The text that was read."),
        "tokens": (nullable(INTEGER), "Tokens of it."),
        "loss": (nullable(NUMBER), "Mean nats of the tokens that follow."),
        "dead": (
            listed(record({**_PLACE, "matrix": (TEXT, "The first of its matrices that is.")})),
            "Experts that add next to nothing.",
        ),
        "copies": (
            listed(
                record(
                    {
                        **_PLACE,
                        "of": (INTEGER, "The earlier expert."),
                        "reordered": (FLAG, "Whether hidden units are in another order."),
                    }
                )
            ),
            "Experts that repeat an earlier one of their layer.",
        ),
        "merged": (
            listed(
                record(
                    {
                        **_PLACE,
                        "first": (INTEGER, "One of the two."),
                        "second": (INTEGER, "The other one."),
                        "share": (NUMBER, "What the first one has of the sum."),
                    }
                )
            ),
            "Experts that are a sum of two others of their layer.",
        ),
        "preferred": (
            listed(
                record({**_PLACE, "ratio": (NUMBER, "Norm of its row over the router's median.")})
            ),
            "Experts that a router prefers.",
        ),
        "always_chosen": (listed(record(_PLACE)), "Experts that every token uses, provably."),
        "never_chosen": (listed(record(_PLACE)), "Experts that no token uses, provably."),
        "unused": (listed(record(_PLACE)), "Experts that no token of the text was given to."),
    }
)

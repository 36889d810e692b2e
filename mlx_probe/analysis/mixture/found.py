"""What is unusual about a mixture's experts, in lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["found_in"]


def found_in(experts: pa.Table, layers: pa.Table) -> dict[str, list[dict[str, Any]]]:
    """Dead, copied and merged experts, and those that routers prefer, choose always or never.

    After a text also those that no token was given to.

    Args:
        experts: The table of experts.
        layers: The table of layers.

    Returns:
        By what they are, each with its layer and its number.
    """
    rows = experts.to_pylist()
    preferred = {
        (row["stack"], row["layer_index"], row["preferred_expert"])
        for row in layers.to_pylist()
        if row["preferred_expert"] is not None
    }
    return {
        "dead": [_named(row, matrix="dead_matrix") for row in rows if row["dead"]],
        "copies": [
            _named(row, of="copy_of", reordered="reordered")
            for row in rows
            if row["copy_of"] is not None
        ],
        "merged": [
            _named(row, first="merged_first", second="merged_second", share="merged_share")
            for row in rows
            if row["merged_first"] is not None
        ],
        "preferred": [
            _named(row, ratio="router_norm_ratio")
            for row in rows
            if (row["stack"], row["layer_index"], row["expert_index"]) in preferred
        ],
        "always_chosen": [_named(row) for row in rows if row["always_chosen"]],
        "never_chosen": [_named(row) for row in rows if row["never_chosen"]],
        # Where a text was read.
        "unused": [_named(row) for row in rows if row.get("assignments") == 0],
    }


def _named(row: Mapping[str, Any], **more: str) -> dict[str, Any]:
    def values() -> Iterator[tuple[str, Any]]:
        yield "layer", row["layer_index"]
        yield "expert", row["expert_index"]
        for name, column in more.items():
            yield name, row[column]

    return dict(values())

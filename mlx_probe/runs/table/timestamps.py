"""Timestamps in text formats: ISO 8601, UTC, microseconds, ``Z`` at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["iso_utc"]


def iso_utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Timestamps as text such as ``2025-01-31T09:00:00.000000Z``.

    Args:
        column: Timestamps in UTC.

    Returns:
        Strings that Arrow casts back to the same timestamps.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    # Dropping the zone first keeps this independent of the system's time zone database.
    # Not by joining texts: a scalar argument would import pandas.
    return pc.strftime(column.cast(pa.timestamp("us")), format="%Y-%m-%dT%H:%M:%SZ")

"""Results in the types that tables of runs have, where no value changes by it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["plain_table"]


def plain_table(table: pa.Table) -> pa.Table:
    """A result with int64, float64 and string for DuckDB's many kinds of these.

    The sum of an int64 column is a decimal of 38 digits in DuckDB; it becomes int64 where all its
    values fit, float64 otherwise. Columns of one name get numbers behind it.
    """
    import pyarrow as pa

    columns = [_plain(column) for column in table.columns]
    return pa.Table.from_arrays(columns, names=_different(table.column_names))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_decimal(kind):
        if kind.scale == 0:
            try:
                return column.cast(pa.int64())
            except pa.ArrowInvalid:
                pass  # a value does not fit
        return column.cast(pa.float64())
    if pa.types.is_uint64(kind):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            return column
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind):
        return column.cast(pa.float64())
    if pa.types.is_dictionary(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    return column


def _different(names: list[str]) -> list[str]:
    """The names, with numbers behind those that were there before."""
    known: Counter[str] = Counter()
    given = set(names)
    unique = []
    for name in names:
        known[name] += 1
        candidate = name
        while known[name] > 1 and (candidate := f"{name}_{known[name]}") in given:
            known[name] += 1
        given.add(candidate)
        unique.append(candidate)
    return unique

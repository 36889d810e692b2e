"""Arrow arrays from Python values, a value at a time, and numpy arrays from Arrow's.

pyarrow's own functions for both import pandas or `pyarrow.compute` when they are first called: a
third of a second and 66 MB that an analysis has no other use for. `pyarrow.array` also takes a
list of all values at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ArrayBuilder", "iso_utc", "null_mask", "part_of", "to_array", "to_floats"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
# Type codes of `array`, by Arrow's name of the type.
_NUMBERS = {"int64": "q", "double": "d", "timestamp[us, tz=UTC]": "q"}


def to_array(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    """An array of values; see `ArrayBuilder`."""
    builder = ArrayBuilder(kind)
    for value in values:
        builder.append(value)
    return builder.finish()


class ArrayBuilder:
    """Collects the values of one column in Arrow's own layout.

    Args:
        kind: int64, float64, bool, string, timestamps in microseconds UTC, or lists of these.

    Raises:
        TypeError: It is another type.

    Source: Apache Arrow Columnar Format 1.5, "Physical memory layout".
    """

    def __init__(self, kind: pa.DataType) -> None:
        import pyarrow as pa

        self._kind = kind
        self._valid = bytearray()
        self._items: ArrayBuilder | None = None
        self._data: array[Any] | bytearray = bytearray()
        # Where each value of variable length ends.
        self._ends = array("i", [0])
        if str(kind) in _NUMBERS:
            self._data = array(_NUMBERS[str(kind)])
        elif pa.types.is_list(kind):
            self._items = ArrayBuilder(kind.value_type)
        elif not (pa.types.is_boolean(kind) or pa.types.is_string(kind)):
            raise TypeError(f"no column has the type {kind}")
        self._is_time = pa.types.is_timestamp(kind)
        self._is_text = pa.types.is_string(kind)

    def __len__(self) -> int:
        return len(self._valid)

    def append(self, value: Any) -> None:
        """Add a value; None and NaN are null.

        Raises:
            TypeError, ValueError, OverflowError: It is not of this type.
        """
        null = value is None or value != value
        if isinstance(self._data, array):
            if null:
                self._data.append(0)
            elif self._is_time:
                self._data.append((value - _EPOCH) // _MICROSECOND)
            else:
                self._data.append(value)
        elif self._items is not None:
            if not null and not isinstance(value, (list, tuple)):
                raise TypeError(f"{value!r} is no list")
            for item in () if null else value:
                self._items.append(item)
            self._ends.append(len(self._items))
        elif self._is_text:
            self._data += b"" if null else value.encode("utf-8")
            self._ends.append(len(self._data))
        else:
            self._data.append(False if null else bool(value))
        self._valid.append(not null)

    def finish(self) -> pa.Array:
        """The array; the builder may not be used any more."""
        import pyarrow as pa

        count = len(self._valid)
        # No bitmap where nothing is null, as pyarrow itself has it.
        validity = None if all(self._valid) else _bitmap(self._valid)
        if self._items is not None:
            buffers = [validity, pa.py_buffer(self._ends)]
            return pa.Array.from_buffers(
                self._kind, count, buffers, children=[self._items.finish()]
            )
        if self._is_text:
            buffers = [validity, pa.py_buffer(self._ends), pa.py_buffer(self._data)]
        elif isinstance(self._data, array):
            buffers = [validity, pa.py_buffer(self._data)]
        else:
            buffers = [validity, _bitmap(self._data)]
        return pa.Array.from_buffers(self._kind, count, buffers)


def _bitmap(flags: bytearray) -> pa.Buffer:
    """Flags of one byte each as one bit each, the lowest bit first."""
    import pyarrow as pa

    bits: NDArray[np.uint8] = np.packbits(np.frombuffer(flags, np.uint8), bitorder="little")
    return pa.py_buffer(bits)


def part_of(schema: pa.Schema, only: Sequence[str] | None) -> pa.Schema:
    """The schema of some columns.

    Args:
        schema: Of a table.
        only: Names of its columns; None for all.
    """
    import pyarrow as pa

    return schema if only is None else pa.schema([schema.field(name) for name in only])


def null_mask(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Which values of a column are null."""
    parts = [_null_mask(chunk) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.zeros(0, np.bool_)


def to_floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A column of numbers or booleans as float64, NaN for null, so that a null fails no test."""
    values = [np.zeros(0)]
    for chunk in column.chunks:
        stored = _words(chunk).astype(np.float64)
        stored[_null_mask(chunk)] = np.nan
        values.append(stored)
    return np.concatenate(values)


def iso_utc(column: pa.Array) -> pa.Array:
    """Timestamps as text such as ``2025-01-31T09:00:00.000000Z``.

    Args:
        column: Timestamps in microseconds, UTC.

    Returns:
        Strings that Arrow casts back to the same timestamps.
    """
    import pyarrow as pa

    texts = np.datetime_as_string(_words(column).view("datetime64[us]"))
    missing = _null_mask(column)
    shown = (None if null else f"{text}Z" for text, null in zip(texts, missing, strict=True))
    return to_array(shown, pa.string())


def _words(chunk: pa.Array) -> NDArray[Any]:
    """Numbers, timestamps or booleans as they are stored; anything where they are null."""
    if chunk.null_count == len(chunk):
        return np.zeros(len(chunk), np.int64)
    data, stop = chunk.buffers()[1], chunk.offset + len(chunk)
    kind = str(chunk.type)
    if kind == "bool":
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[chunk.offset : stop]
    return np.frombuffer(data, _NUMBERS[kind])[chunk.offset : stop]


def _null_mask(chunk: pa.Array) -> NDArray[np.bool_]:
    validity = chunk.buffers()[0]
    if validity is None:
        # Without a bitmap all are there, or all are null.
        return np.full(len(chunk), chunk.null_count > 0)
    bits = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")
    missing: NDArray[np.bool_] = bits[chunk.offset : chunk.offset + len(chunk)] == 0
    return missing

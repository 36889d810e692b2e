"""How often each code occurs: of bit patterns, or of their leading bits."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.machine import usable_cores

__all__ = ["FEW", "CodeCounts", "Occurrences", "TableCounts"]

# Codes that occur, ascending, and how often; of shape (distinct,).
Occurrences = tuple[NDArray[np.intp], NDArray[np.int64]]

# Codes that are kept as they are: to make, clear and search a table of all possible ones takes
# longer than to sort so few.
FEW = 1 << 13

# Codes that are counted at a time: bincount makes a 64-bit copy of them, and a new table.
_BLOCK = 1 << 18

# Size of a small table: that of all 16-bit patterns.
_SMALL = 1 << 16

# Codes up to which no count of 32 bits overflows.
_NARROW = (1 << 31) - 1

# Counts that are searched together, a power of two: a binade of one sign in float32.
_ROW_BITS = 11


class CodeCounts:
    """Counts of codes: a list of the codes while they are few, then a table of all possible ones.

    Args:
        bits: Width of a code.
    """

    def __init__(self, bits: int) -> None:
        self._size, self._seen = 1 << bits, 0
        self._few: list[NDArray[np.integer[Any]]] = []
        self._table: NDArray[np.integer[Any]] | None = None

    def add(self, codes: NDArray[np.integer[Any]]) -> None:
        """Count codes, shape (n,); copied if they are kept."""
        self._seen += codes.size
        if self._seen <= FEW:
            self._few.append(codes.copy())
            return
        for start in range(0, codes.size, _BLOCK):
            self._count(codes[start : start + _BLOCK])

    def add_table(self, counts: NDArray[np.integer[Any]]) -> None:
        """Add what a device has counted, shape (2**bits,)."""
        self._seen += int(counts.sum(dtype=np.int64))
        self._wide_table()[...] += counts

    def occurrences(self) -> Occurrences:
        """The codes that occur."""
        if self._table is None:
            return _sorted_occurrences(self._few)
        table = self._full_table()
        codes = _occupied(table)
        return codes, table[codes].astype(np.int64)

    def _count(self, codes: NDArray[np.integer[Any]]) -> None:
        table = self._full_table()
        if codes.size < table.size:
            # Not bincount, which would make and clear a table for each block. The one has the
            # table's own type: with another type this takes forty times as long.
            np.add.at(table, codes.astype(np.intp, copy=False), table.dtype.type(1))
        else:
            table += np.bincount(codes, minlength=table.size).astype(table.dtype, copy=False)

    def _full_table(self) -> NDArray[np.integer[Any]]:
        """The table of everything added; a large one is in 32 bits as long as they suffice."""
        if self._table is None:
            narrow = self._size > _SMALL
            self._table = np.zeros(self._size, np.int32 if narrow else np.int64)
        if self._seen > _NARROW:
            self._table = self._table.astype(np.int64, copy=False)
        few, self._few = self._few, []
        for codes in few:
            self._count(codes)
        return self._table

    def _wide_table(self) -> NDArray[np.integer[Any]]:
        self._table = self._full_table().astype(np.int64, copy=False)
        return self._table


class TableCounts:
    """Counts of codes that compiled code adds to tables; of few codes as a list, too.

    Args:
        bits: Width of a code.
        tables: Tables whose sum counts.
        row: Codes that lie together in a table; 0 for all.
        gap: Numbers between rows that are not used.
        exchanged: Code from which on rows have their halves exchanged, the first of a row;
            None for no code.
    """

    def __init__(
        self, bits: int, tables: int, row: int = 0, gap: int = 0, exchanged: int | None = None
    ) -> None:
        self._row = row or 1 << bits
        self._exchanged = 1 << bits if exchanged is None else exchanged
        self._shape = (tables, (1 << bits) // self._row, self._row + gap)
        self._seen = self._since = 0
        self._few: list[NDArray[np.integer[Any]]] = []
        self._tables: NDArray[np.uint32] | None = None
        self._wide: NDArray[np.int64] | None = None

    def room(self, size: int) -> NDArray[np.uint32] | None:
        """The tables, for ``size`` more codes; None if these are so few that `add` takes them."""
        if self._seen + size <= FEW:
            return None
        self._seen += size
        if self._tables is None:
            self._tables = _clear_table(self._shape)
            for codes in self._few:
                rows, places = np.divmod(codes.astype(np.intp), self._row)
                places ^= self._row // 2 * (codes >= self._exchanged)
                np.add.at(self._tables[0], (rows, places), np.uint32(1))
                self._since += codes.size
        self._since += size
        if self._since > _NARROW:
            self._wide = self._sum(slice(None))
            self._tables[...] = 0
            self._since = size
        return self._tables

    def add(self, codes: NDArray[np.integer[Any]]) -> None:
        """Count few codes, shape (n,), which are kept."""
        self._seen += codes.size
        self._few.append(codes)

    def occurrences(self, *spans: tuple[int, int]) -> Occurrences:
        """The codes that occur.

        Args:
            spans: First and one past the last of codes that may occur, whole rows, ascending;
                none for all codes.
        """
        if self._tables is None:
            return _sorted_occurrences(self._few)
        found = []
        for first, last in spans or ((0, self._row * self._shape[1]),):
            counts = self._sum(slice(first // self._row, last // self._row))
            exchanged = counts[max(self._exchanged - first, 0) // self._row :]
            exchanged[...] = np.roll(exchanged, self._row // 2, axis=1)
            counts = counts.ravel()
            codes = np.flatnonzero(counts > 0)
            found.append((codes + first, counts[codes]))
        codes, counts = (np.concatenate(each) for each in zip(*found, strict=True))
        return codes, counts

    def close(self, *spans: tuple[int, int]) -> None:
        """End; the tables serve for other counts.

        Args:
            spans: As for `occurrences`, of all codes that may have occurred.
        """
        if self._tables is not None:
            for first, last in spans:
                self._tables[:, first // self._row : last // self._row] = 0
            _clear_tables.append(self._tables)
        del self._tables

    def _sum(self, rows: slice) -> NDArray[np.int64]:
        assert self._tables is not None
        total: NDArray[np.int64] = self._tables[:, rows, : self._row].sum(axis=0, dtype=np.int64)
        if self._wide is not None:
            total += self._wide[rows]
        return total


# Tables of zeros that nobody uses. To have new ones from the system takes about as long as to count
# a million elements.
_clear_tables: deque[NDArray[np.uint32]] = deque(maxlen=usable_cores())


def _clear_table(shape: tuple[int, ...]) -> NDArray[np.uint32]:
    with suppress(IndexError):
        table = _clear_tables.pop()
        if table.shape == shape:
            return table
    return np.zeros(shape, np.uint32)


def _sorted_occurrences(few: list[NDArray[np.integer[Any]]]) -> Occurrences:
    """The codes that occur; numpy.unique takes three times as long for so few."""
    codes = np.sort(np.concatenate(few)).astype(np.intp) if few else np.empty(0, np.intp)
    ends = np.append(np.flatnonzero(codes[1:] != codes[:-1]), len(codes) - 1)
    if not len(codes):
        return codes, np.empty(0, np.int64)
    counts = ends.astype(np.int64)
    counts[1:] -= ends[:-1]
    counts[0] += 1
    return codes[ends], counts


def _occupied(counts: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """Indices of the nonzero counts in a large and mostly empty table, ascending.

    Row by row: most rows are empty, and the maximum of a row takes less time than a search in it.
    """
    if counts.size <= _SMALL:
        return np.flatnonzero(counts > 0)
    rows = counts.reshape(-1, 1 << _ROW_BITS)
    busy = np.flatnonzero(rows.max(axis=1) > 0)
    inside = np.flatnonzero(rows[busy] > 0)
    row, column = inside >> _ROW_BITS, inside & ((1 << _ROW_BITS) - 1)
    codes: NDArray[np.intp] = (busy[row] << _ROW_BITS) + column
    return codes

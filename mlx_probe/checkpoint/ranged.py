"""Tensors of a weight file on a server: rows come over the network when they are indexed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.mapping import MappedFile
from mlx_probe.core.errors import CheckpointError, PackingError
from mlx_probe.core.records import ModelFiles

__all__ = ["MOST_WHOLE", "UNMAPPED", "RangedFile", "RangedWords"]

# Bytes that are fetched of a stored piece at once: a whole, where its rows alone are not enough.
MOST_WHOLE = 1 << 24


class RangedFile(MappedFile):
    """A weight file on a server: nothing of it is mapped, `words_of` gives `RangedWords`.

    Args:
        files: The model, which is read over the network.
        path: One of its weight files.
        size: The file's bytes.
    """

    def __init__(self, files: ModelFiles, path: Path, size: int) -> None:
        super().__init__(path, size)
        self._files = files

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of the file, in one request.

        Raises:
            SourceError: Access denied, no connection, or a server that serves no ranges.
            CheckpointError: The file is closed, or ends before ``stop``.
        """
        if self._closed:
            raise CheckpointError(f"{self._path}: read after close", "Open the checkpoint again")
        with self._files.open(self._path) as file:
            file.seek(start)
            data = file.read(stop - start)
        if len(data) != stop - start:
            raise self._resized()
        return data

    def prefetch(self, start: int, stop: int) -> None:
        """Nothing: what is not read is not fetched."""


class _Unmapped:
    """Stands for the map of what is not mapped: has no pages to give back."""

    def will_need(self) -> None:
        """Nothing."""

    def release(self, part: NDArray[Any]) -> None:
        """Nothing."""


UNMAPPED = _Unmapped()


class RangedWords:
    """An array on a server, in C order, which is indexed by rows.

    An index fetches the rows from the first to the last that it names, and numpy does the rest.
    Anything but an index (an operation on the whole) fetches the whole, up to `MOST_WHOLE` bytes.

    Args:
        title: The tensor's name, for messages.
        read: Reads bytes of the file.
        start: First byte of the array.
        dtype: Of an element.
        shape: Of the array.
    """

    def __init__(
        self,
        title: str,
        read: Callable[[int, int], bytes],
        start: int,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
    ) -> None:
        self._title, self._read, self._start = title, read, start
        self.dtype, self.shape = dtype, shape
        self._lock = threading.Lock()
        self._kept: tuple[int, int, NDArray[Any]] | None = None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def reshape(self, *shape: Any) -> RangedWords | NDArray[Any]:
        """The same elements in another shape."""
        wanted = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
        if -1 in wanted:
            known = -prod(wanted)
            wanted = tuple(self.size // known if extent == -1 else extent for extent in wanted)
        if not wanted:
            return self.whole().reshape(())
        return RangedWords(self._title, self._read, self._start, self.dtype, wanted)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        first, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(first, slice):
            begin, end, step = first.indices(self.shape[0])
            if step != 1:
                return np.asarray(self.whole()[index])
            end = max(begin, end)
            rows: Any = slice(0, end - begin)
        elif isinstance(first, np.ndarray) and first.dtype.kind in "iu" and first.size:
            begin, end = int(first.min()), int(first.max()) + 1
            rows = first - begin
        else:
            return np.asarray(self.whole()[index])
        within = (rows, *rest)
        return np.asarray(self._rows(begin, end)[within])

    def _rows(self, begin: int, end: int) -> NDArray[Any]:
        with self._lock:
            kept = self._kept
        if kept is not None and kept[0] <= begin and end <= kept[1]:
            return kept[2][begin - kept[0] : end - kept[0]]
        step = prod(self.shape[1:]) * self.dtype.itemsize
        if (end - begin) * step > MOST_WHOLE:
            raise self._too_much((end - begin) * step)
        data = self._read(self._start + begin * step, self._start + end * step)
        rows = np.frombuffer(data, self.dtype).reshape(end - begin, *self.shape[1:])
        with self._lock:
            # Blocks of one row are decoded one after the other.
            self._kept = begin, end, rows
        return rows

    def whole(self) -> NDArray[Any]:
        """All elements.

        Raises:
            PackingError: They are more than `MOST_WHOLE` bytes.
        """
        if self.nbytes > MOST_WHOLE:
            raise self._too_much(self.nbytes)
        data = self._read(self._start, self._start + self.nbytes)
        return np.frombuffer(data, self.dtype).reshape(self.shape)

    def _too_much(self, count: int) -> PackingError:
        return PackingError(
            f"{self._title}: its rows cannot be read without {count} bytes at once, "
            "which is too much over the network"
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.whole() if dtype is None else self.whole().astype(dtype)

    def __getattr__(self, name: str) -> Any:
        # What packings do with small pieces: views, transposes, sums.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.whole(), name)

"""Weights with the same bytes: tied (the same range of a file), or stored twice."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

from mlx_probe.checkpoint.weight import Weight
from mlx_probe.core.errors import unreadable

__all__ = ["are_same_bytes", "find_aliases"]

# Bytes from the middle of a weight: enough to tell most different weights apart.
_SAMPLE = 4096
_PIECE = 1 << 22


def find_aliases(weights: Sequence[Weight]) -> dict[int, int]:
    """Which weights are copies of an earlier one.

    Reads a few bytes of every weight that has the shape and type of another one. Reads all
    bytes only of weights that agree in these.

    Args:
        weights: The weights, in file order.

    Returns:
        Position of each copy to the position of the first weight with the same bytes.

    Raises:
        CheckpointError: A file cannot be read.
    """
    readable = [i for i, w in enumerate(weights) if w.problem is None and w.shape and w.numel]
    groups: list[list[int]] = [readable]
    # Tied weights share a range, which is read once.
    digest = lru_cache(maxsize=None)(_digest)
    with _Samples() as samples:
        for key in (_kind, samples.of, lambda weight: digest(weight.byte_ranges())):
            groups = [part for group in groups for part in _split(group, weights, key)]
    return {copy: group[0] for group in groups for copy in group[1:]}


def are_same_bytes(a: Weight, b: Weight) -> bool:
    """Whether two weights, of one model or of two, are the same bytes of one file.

    Nothing is read. Links to one file are one file.
    """
    if _kind(a) != _kind(b) or a.parameter.packing != b.parameter.packing:
        return False
    if a.parameter.encoding != b.parameter.encoding or a.stack_index != b.stack_index:
        return False
    first, second = (
        [(path.resolve(), start, stop) for path, start, stop in each.byte_ranges()]
        for each in (a, b)
    )
    return first == second


def _split(
    group: Iterable[int], weights: Sequence[Weight], key: Callable[[Weight], Hashable]
) -> list[list[int]]:
    """The members of a group with equal keys, in groups of at least two."""
    parts: dict[Hashable, list[int]] = defaultdict(list)
    for index in group:
        parts[key(weights[index])].append(index)
    return [part for part in parts.values() if len(part) > 1]


def _kind(weight: Weight) -> Hashable:
    """Everything except the bytes that the values depend on."""
    pieces = [
        (piece.dtype, piece.shape, piece.strides, piece.inflated)
        for piece in weight.parameter.pieces
    ]
    sizes = [stop - start for _, start, stop in weight.byte_ranges()]
    # The matrices of a deflated stack share their bytes.
    deflated = any(piece.inflated is not None for piece in weight.parameter.pieces)
    index = weight.stack_index if deflated else None
    return weight.parameter.detail, weight.shape, weight.part, index, *pieces, *sizes


class _Samples:
    """Bytes from the middle of weights; the last file stays open for the next weight of it."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._files = ExitStack()

    def __enter__(self) -> _Samples:
        return self

    def __exit__(self, *exception: object) -> None:
        self._files.close()

    def of(self, weight: Weight) -> bytes:
        path, start, stop = weight.byte_ranges()[0]
        middle = max(start, (start + stop - _SAMPLE) // 2)
        try:
            if path != self._path:
                self._files.close()
                # Not buffered: the next weight lies elsewhere.
                self._file = self._files.enter_context(path.open("rb", buffering=0))
                self._path = path
            return os.pread(self._file.fileno(), min(_SAMPLE, stop - middle), middle)
        except OSError as error:
            raise unreadable(path, error) from error


def _digest(ranges: tuple[tuple[Path, int, int], ...]) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    for path, start, stop in ranges:
        for piece in _read(path, start, stop):
            digest.update(piece)
    return digest.digest()


def _read(path: Path, start: int, stop: int) -> Iterable[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            while start < stop and (piece := file.read(min(_PIECE, stop - start))):
                yield piece
                start += len(piece)
    except OSError as error:
        raise unreadable(path, error) from error

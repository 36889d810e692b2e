"""The elements of several weights in memory.

For tables that compare or multiply several weights; the main path streams them one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.loading import loaded_chunks
from mlx_probe.checkpoint.fused import Part
from mlx_probe.checkpoint.weight import Weight, chunk_extent
from mlx_probe.core.dtypes import DTYPES, decode

if TYPE_CHECKING:
    from mlx_probe.compute.backends import Backend

__all__ = ["Matrix", "band", "read_bytes", "read_into", "words_of"]

Matrix = NDArray[np.float64]


def band(weight: Weight, first: int, last: int) -> Weight:
    """A few lines of a matrix as a weight.

    Args:
        weight: A 2-D matrix. Its lines are its rows, or its columns if it is a part of a fused
            matrix that is cut between columns.
        first: The first line. Where the parts of a fused matrix alternate, a multiple of the
            part's length.
        last: One past the last line.

    Returns:
        A weight of shape (last - first, cols), or (rows, last - first).
    """
    rows, cols = weight.shape
    part = weight.part or Part("", 0, rows, rows, 0, rows)
    count = last - first
    if part.contiguous:
        part = replace(part, count=count, offset=part.offset + first, length=count)
    else:
        offset = part.offset + first // part.length * part.period
        part = replace(part, count=count, offset=offset)
    shape = (count, cols) if part.axis == 0 else (rows, count)
    return replace(weight, shape=shape, rows=shape[0], cols=shape[1], part=part)


def read_bytes(rows: int, cols: int) -> int:
    """Bytes that `read_into` takes besides its result: an unpacked chunk and a decoded one."""
    short, long = sorted((max(rows, 1), max(cols, 1)))
    return 16 * short * min(long, chunk_extent(short))


def read_into(weight: Weight, out: NDArray[Any]) -> None:
    """Read all elements of a matrix.

    Args:
        weight: A readable matrix.
        out: Filled with the values, shape (rows, cols), any float type.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    # Signalling NaNs become quiet ones, which is intended.
    with np.errstate(invalid="ignore"):
        _copy((decode(stored, weight.chunk_dtype) for stored in weight.chunks()), out)


def words_of(weight: Weight, backend: Backend) -> NDArray[Any]:
    """All elements of a matrix, unpacked by a backend: words of its `chunk_dtype`.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    words = np.empty(weight.shape, DTYPES[weight.chunk_dtype].storage)
    loaded = loaded_chunks(weight, backend)
    _copy((np.asarray(each.chunk.stored) for each in loaded), words)
    return words


def _copy(slabs: Iterable[NDArray[Any]], out: NDArray[Any]) -> None:
    """Put slabs along the long side of a matrix into it."""
    rows, cols = out.shape
    lines = out if rows >= cols else out.T
    at = 0
    for slab in slabs:
        part = slab if rows >= cols else slab.T
        lines[at : at + len(part)] = part
        at += len(part)
        # Frees this slab before the next one is unpacked.
        del slab, part

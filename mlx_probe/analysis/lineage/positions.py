"""Which rows, layers and experts are sampled: the same ones in every model.

Positions are drawn by a hash of their own number, and the smallest hashes are taken. A model with
more rows, layers or experts than another one has therefore mostly the same positions sampled, and
a layer that has moved to another depth has the same rows sampled as before.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "chosen", "sampled_rows"]

# Rows that are read at once: one request over the network, and whole words of packed rows.
BLOCK = 16

_MASK = (1 << 64) - 1


def _hash(seed: int, number: int) -> int:
    """SplitMix64 of a number (Steele, Lea and Flood 2014): equal on every machine."""
    z = (number + (seed + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def chosen(numbers: Iterable[int], count: int, seed: int) -> frozenset[int]:
    """The ``count`` numbers with the smallest hashes; all where there are no more."""
    return frozenset(heapq.nsmallest(count, set(numbers), key=lambda n: (_hash(seed, n), n)))


@lru_cache(maxsize=256)
def sampled_rows(rows: int, count: int, seed: int) -> NDArray[np.intp]:
    """Row numbers in ascending order, in whole blocks of `BLOCK`.

    Args:
        rows: Rows of the matrix.
        count: Rows that are wanted; all if there are no more, and at least one block.
        seed: See `LineageConfig`.
    """
    if count >= rows:
        return _fixed(np.arange(rows))
    blocks = sorted(chosen(range(-(-rows // BLOCK)), max(1, count // BLOCK), seed))
    numbers = (np.arange(BLOCK) + BLOCK * np.array(blocks)[:, None]).ravel()
    return _fixed(numbers[numbers < rows])


def _fixed(numbers: NDArray[np.intp]) -> NDArray[np.intp]:
    numbers.setflags(write=False)
    return numbers

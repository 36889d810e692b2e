"""Stored words in this process's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.dtypes import decode

__all__ = ["BLOCK_ELEMENTS", "BLOCK_LINES", "Chunk"]

# Elements that enter a product at a time: a whole slab in float64 would take several times its
# own bytes. With fewer lines than this the product would be slow.
BLOCK_ELEMENTS, BLOCK_LINES = 1 << 18, 256


@dataclass(frozen=True)
class Chunk:
    """Stored words in memory, decoded at most once.

    Attributes:
        stored: Contiguous words as in the file.
        dtype: Key of `DTYPES`.
    """

    stored: NDArray[Any]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.stored.size

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The elements, float64, same shape as ``stored``."""
        with np.errstate(invalid="ignore"):  # signalling NaNs become quiet ones
            return decode(self.stored, self.dtype).astype(np.float64)

    def parts(self, axis: int, extent: int) -> Iterator[Chunk]:
        """Parts of a 2-D chunk, each ``extent`` long on an axis, in order."""
        for start in range(0, self.stored.shape[axis], extent):
            part = slice(start, start + extent)
            yield Chunk(self.stored[part] if axis == 0 else self.stored[:, part], self.dtype)

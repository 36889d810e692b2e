"""How stored bytes become elements: as they lie, or block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint import ggml
from mlx_probe.dtypes import DTYPES

__all__ = ["PACKINGS", "Packing", "packing_of"]


@dataclass(frozen=True)
class Packing:
    """A way to store elements. Each function takes the stored dtype's name.

    Attributes:
        chunk_dtype: Key of `DTYPES` that ``unpack`` delivers.
        block: Elements and bytes of the smallest part of a row that stands alone; the
            elements divide 1024.
        unpack: Stored bytes, uint8 of shape (rows, whole blocks) with a contiguous last
            axis, to words of ``DTYPES[chunk_dtype].storage``, shape (rows, elements).
    """

    chunk_dtype: Callable[[str], str]
    block: Callable[[str], tuple[int, int]]
    unpack: Callable[[NDArray[np.uint8], str], NDArray[Any]]


PACKINGS: dict[str, Packing] = {
    "plain": Packing(
        chunk_dtype=lambda dtype: dtype,
        block=lambda dtype: (1, DTYPES[dtype].itemsize),
        unpack=lambda stored, dtype: stored.view(DTYPES[dtype].storage),
    ),
    "ggml": Packing(chunk_dtype=lambda dtype: "F32", block=ggml.block, unpack=ggml.unpack),
}


def packing_of(dtype: str) -> Packing:
    """The packing of a stored type: what is no plain element type is a ggml block."""
    return PACKINGS["plain" if dtype in DTYPES else "ggml"]

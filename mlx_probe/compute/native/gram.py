"""Tiles of Gram matrices by the compiled kernels (``kernels/gram.h``)."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.native.eigen import loaded, own_work

__all__ = ["add_products"]

Matrix = NDArray[np.float64]


class _Sides(ctypes.Structure):
    """Mirrors ``sides`` of eigen.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("high", "wide", "terms", "down", "across")),
        *((name, ctypes.c_int64) for name in ("lead", "half")),
        *((name, ctypes.c_void_p) for name in ("left", "right", "c")),
    )


def add_products(tile: Matrix, left: Matrix, right: Matrix, half: bool) -> bool:
    """Add ``left.T @ right`` to a tile; the order of all sums depends on the shapes alone.

    Args:
        tile: Shape (high, wide), rows contiguous; changed in place.
        left: Shape (k, high).
        right: Shape (k, wide), with the strides of ``left``.
        half: Only the upper triangle is wanted, and ``right`` is ``left``; what is below it
            changes, too.

    Returns:
        Whether it is done: not where there are no kernels, or BLAS is faster.
    """
    kernels, (high, wide), item = loaded(), tile.shape, tile.itemsize
    if kernels is None:
        return False
    size = int(kernels.probe_gram_work(ctypes.c_int64(0 if half else high), ctypes.c_int64(wide)))
    if not size:
        return False
    across, down = (stride // item for stride in right.strides)
    sides = _Sides(high, wide, len(right), down, across, tile.strides[0] // item, half)
    sides.left, sides.right, sides.c = (array.ctypes.data for array in (left, right, tile))
    kernels.probe_gram(ctypes.byref(sides), ctypes.c_void_p(own_work(item * size).ctypes.data))
    return True

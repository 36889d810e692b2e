"""Small numbers read from packed bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["codes_at", "unpack_bits"]


def unpack_bits(stored: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Codes of a few bits each, packed without gaps from the lowest bit of the first byte up.

    Args:
        stored: Little-endian integers of any width, shape (..., n). Unless ``bits`` is a power
            of two, they must hold a multiple of 8 codes.
        bits: Width of a code, 1 to 8.

    Returns:
        uint8, shape (..., codes).
    """
    data: NDArray[np.uint8] = np.ascontiguousarray(stored).view(np.uint8)
    if bits == 8:
        return data
    if 8 % bits == 0:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        codes: NDArray[np.uint8] = (data[..., None] >> shifts) & np.uint8((1 << bits) - 1)
        return codes.reshape(*data.shape[:-1], -1)
    # Eight codes fill ``bits`` bytes and fit into one 64-bit word.
    octets = data.reshape(*data.shape[:-1], -1, bits)
    words = np.zeros((*octets.shape[:-1], 8), np.uint8)
    words[..., :bits] = octets
    shifts = np.arange(0, 8 * bits, bits, dtype=np.uint64)
    wide: NDArray[np.uint64] = (words.view("<u8") >> shifts) & np.uint64((1 << bits) - 1)
    return wide.astype(np.uint8).reshape(*data.shape[:-1], -1)


def codes_at(stored: NDArray[Any], where: NDArray[np.intp], bits: int) -> NDArray[np.uint8]:
    """Single codes of packed words.

    Args:
        stored: Little-endian integers, shape (..., n), packed from the lowest bit up.
        where: Numbers of the codes on the last axis, shape (k,).
        bits: Width of a code, 1 to 8.

    Returns:
        uint8, shape (..., k).
    """
    data: NDArray[np.uint8] = np.ascontiguousarray(stored).view(np.uint8)
    first, rest = np.divmod(where * bits, 8)
    shifts = rest.astype(np.uint8)
    codes: NDArray[np.uint8] = np.take(data, first, axis=-1) >> shifts
    if 8 % bits:
        # Such a code may end in the next byte; the mask removes the rest of that byte.
        codes |= data[..., np.minimum(first + 1, data.shape[-1] - 1)] << (8 - shifts)
    codes &= np.uint8((1 << bits) - 1)
    return codes

"""ggml's simplest types and K-quants by their formulas: one number at a time, in float64.

Written from the comments of ggml-common.h, to share nothing with the decoders that are tested.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Formula:
    """One type.

    Attributes:
        elements: Numbers in a block.
        parts: Names of the block's parts with their `struct` codes, in order.
        terms: From the parts and the place of a number in the block: its positive and its
            negative term. The number is their difference.
    """

    elements: int
    parts: dict[str, str]
    terms: Callable

    @property
    def code(self):
        return "<" + "".join(self.parts.values())

    def values(self, stored):
        """Numbers of rows of blocks, and the sizes of the terms that they are made of."""
        size = struct.calcsize(self.code)
        rows, sizes = [], []
        for line in stored:
            numbers = []
            for block in line.reshape(-1, size):
                fields = iter(struct.unpack(self.code, block.tobytes()))
                parts = {
                    name: tuple(next(fields) for _ in range(int(code[:-1])))
                    if code[:-1]
                    else next(fields)
                    for name, code in self.parts.items()
                }
                numbers += [self.terms(parts, i) for i in range(self.elements)]
            rows.append([plus - minus for plus, minus in numbers])
            sizes.append([abs(plus) + abs(minus) for plus, minus in numbers])
        return np.array(rows), np.array(sizes)


def _fourth(block, i):
    """Codes 0 to 15 are the lower halves of 16 bytes, 16 to 31 the upper ones."""
    return block["codes"][i % 16] >> 4 * (i // 16) & 15


def _fifth(block, i):
    return _fourth(block, i) | (block["high"] >> i & 1) << 4


def _two_bits(codes, i):
    """Each 32 bytes hold 128 numbers, the first 32 of them in the lowest bits."""
    return codes[i // 128 * 32 + i % 32] >> 2 * (i % 128 // 32) & 3


def _scales(scales, k):
    """The six-bit scale and minimum of sub-block k of a Q4_K or Q5_K block."""
    if k < 4:
        return scales[k] & 63, scales[k + 4] & 63
    low, high = scales[k + 4] & 15, scales[k + 4] >> 4
    return low | scales[k - 4] >> 6 << 4, high | scales[k] >> 6 << 4


def _half_of_64(codes, i):
    return codes[i // 64 * 32 + i % 32] >> 4 * (i % 64 // 32) & 15


def _q2_k(block, i):
    both = block["scales"][i // 16]
    return block["d"] * (both & 15) * _two_bits(block["codes"], i), block["dmin"] * (both >> 4)


def _q3_k(block, i):
    k, scales = i // 16, block["scales"]
    low = scales[k] & 15 if k < 8 else scales[k - 8] >> 4
    scale = (low | (scales[8 + k % 4] >> 2 * (k // 4) & 3) << 4) - 32
    code = _two_bits(block["codes"], i) | (block["high"][i % 32] >> i // 32 & 1) << 2
    return block["d"] * scale * (code - 4), 0


def _q4_k(block, i):
    scale, least = _scales(block["scales"], i // 32)
    return block["d"] * scale * _half_of_64(block["codes"], i), block["dmin"] * least


def _q5_k(block, i):
    scale, least = _scales(block["scales"], i // 32)
    code = _half_of_64(block["codes"], i) | (block["high"][i % 32] >> i // 32 & 1) << 4
    return block["d"] * scale * code, block["dmin"] * least


def _q6_k(block, i):
    part, quarter = divmod(i, 128)
    low = block["codes"][64 * part + quarter % 64] >> 4 * (quarter // 64) & 15
    code = low | _two_bits(block["high"], i) << 4
    return block["d"] * block["scales"][i // 16] * (code - 32), 0


_FIFTHS = {"high": "I", "codes": "16B"}
_D = {"d": "e"}
_M = {"m": "e"}
_MIN = {"d": "e", "dmin": "e"}
FORMULAS = {
    "Q4_0": Formula(32, _D | {"codes": "16B"}, lambda b, i: (b["d"] * (_fourth(b, i) - 8), 0)),
    "Q4_1": Formula(32, _D | _M | {"codes": "16B"}, lambda b, i: (b["d"] * _fourth(b, i), -b["m"])),
    "Q5_0": Formula(32, _D | _FIFTHS, lambda b, i: (b["d"] * (_fifth(b, i) - 16), 0)),
    "Q5_1": Formula(32, _D | _M | _FIFTHS, lambda b, i: (b["d"] * _fifth(b, i), -b["m"])),
    "Q8_0": Formula(32, _D | {"codes": "32b"}, lambda b, i: (b["d"] * b["codes"][i], 0)),
    "Q2_K": Formula(256, {"scales": "16B", "codes": "64B", **_MIN}, _q2_k),
    "Q3_K": Formula(256, {"high": "32B", "codes": "64B", "scales": "12B", "d": "e"}, _q3_k),
    "Q4_K": Formula(256, _MIN | {"scales": "12B", "codes": "128B"}, _q4_k),
    "Q5_K": Formula(256, _MIN | {"scales": "12B", "high": "32B", "codes": "128B"}, _q5_k),
    "Q6_K": Formula(256, {"codes": "128B", "high": "64B", "scales": "16b", "d": "e"}, _q6_k),
}

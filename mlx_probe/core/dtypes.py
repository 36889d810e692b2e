"""The number formats that checkpoints store, by the names their files use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DTYPES",
    "E2M1",
    "FLOAT_FORMATS",
    "SCALE_DTYPE",
    "DType",
    "FloatFormat",
    "as_float32",
    "decode",
    "float8_e4m3_values",
]

Kind = Literal["float", "int", "bool"]


@dataclass(frozen=True)
class FloatFormat:
    """A binary floating-point format.

    Attributes:
        bits: Storage width.
        precision: Significand bits, the implicit leading one included.
        min_exponent: Exponent of the smallest normal number (2**min_exponent).
        largest: Largest finite number.
    """

    bits: int
    precision: int
    min_exponent: int
    largest: float


@dataclass(frozen=True)
class DType:
    """How one element type is stored in a file.

    Attributes:
        name: The name in safetensors headers, which we use for every file format.
        kind: Whether elements are floats, integers or booleans.
        storage: Little-endian numpy type that has the element's width and, where numpy
            knows the format, its meaning (words for BF16, bytes for the 8-bit floats).
    """

    name: str
    kind: Kind
    storage: np.dtype[np.generic]

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self.storage.itemsize


# The narrowest first, and bfloat16 before float16: `value_dtype` is the first that fits.
FLOAT_FORMATS = {
    "F8_E4M3": FloatFormat(8, 4, -6, 448.0),
    "F8_E5M2": FloatFormat(8, 3, -14, 57344.0),
    "BF16": FloatFormat(16, 8, -126, float.fromhex("0x1.FEp127")),
    "F16": FloatFormat(16, 11, -14, 65504.0),
    "F32": FloatFormat(32, 24, -126, float.fromhex("0x1.FFFFFEp127")),
    "F64": FloatFormat(64, 53, -1022, float.fromhex("0x1.FFFFFFFFFFFFFp1023")),
}

_STORAGE: tuple[tuple[str, Kind, str], ...] = (
    ("F64", "float", "<f8"),
    ("F32", "float", "<f4"),
    ("F16", "float", "<f2"),
    ("BF16", "float", "<u2"),
    ("F8_E4M3", "float", "u1"),
    ("F8_E5M2", "float", "u1"),
    ("I64", "int", "<i8"),
    ("I32", "int", "<i4"),
    ("I16", "int", "<i2"),
    ("I8", "int", "i1"),
    ("U64", "int", "<u8"),
    ("U32", "int", "<u4"),
    ("U16", "int", "<u2"),
    ("U8", "int", "u1"),
    ("BOOL", "bool", "u1"),
)
DTYPES = {name: DType(name, kind, np.dtype(storage)) for name, kind, storage in _STORAGE}


# All 16 values of the 4-bit float E2M1, by code.
# Source: OCP Microscaling Formats (MX) Specification 1.0, section 5.3.3.
_POSITIVE = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
E2M1 = np.array([*_POSITIVE, *(-value for value in _POSITIVE)], np.float32)

# A byte that holds only a biased exponent: for scales of packed weights, never for elements.
SCALE_DTYPE = "F8_E8M0"


def float8_e4m3_values() -> NDArray[np.float32]:
    """All 256 values of E4M3 ("fn" variant: no infinities, NaN at 0x7F and 0xFF).

    Returns:
        float32 array of shape (256,), indexed by the stored byte.

    Source: Micikevicius et al. 2022, "FP8 formats for deep learning" (arXiv 2209.05433).
    """
    code = np.arange(256)
    exponent, fraction = (code >> 3) & 15, code & 7
    normal = np.ldexp(8.0 + fraction, exponent - 10)
    subnormal = np.ldexp(fraction.astype(np.float64), -9)
    magnitude = np.where(exponent == 0, subnormal, normal)
    magnitude[(code & 0x7F) == 0x7F] = np.nan
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.float32)


_E4M3 = float8_e4m3_values()
# Source: OCP Microscaling Formats (MX) Specification 1.0, section 5.4.1.
_E8M0 = np.append(np.ldexp(np.float32(1), np.arange(-127, 128)), np.float32(np.nan))


def decode(stored: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Values of stored words, exactly.

    Args:
        stored: Words of `DTYPES`[dtype].storage (bytes for `SCALE_DTYPE`), any shape.
        dtype: Key of `DTYPES`, or `SCALE_DTYPE`.

    Returns:
        Array of the same shape in the narrowest numpy type that holds every value of
        ``dtype`` (float32 for BF16 and the 8-bit floats).
    """
    if dtype == "BF16":
        wide: NDArray[Any] = np.left_shift(stored, 16, dtype=np.uint32)
        return wide.view(np.float32)
    if dtype == "F8_E4M3":
        return np.take(_E4M3, stored)
    if dtype == "F8_E5M2":
        # E5M2 is the upper byte of float16.
        half: NDArray[Any] = np.left_shift(stored, 8, dtype=np.uint16)
        return half.view(np.float16)
    if dtype == SCALE_DTYPE:
        return np.take(_E8M0, stored)
    return stored != 0 if dtype == "BOOL" else stored


def as_float32(stored: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Numbers that scale packed weights; they may be infinite or beyond float32.

    Args:
        stored: As for `decode`.
        dtype: Key of `DTYPES`, or `SCALE_DTYPE`.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return decode(stored, dtype).astype(np.float32, copy=False)

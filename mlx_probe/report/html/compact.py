"""Values of a table's columns in few bytes, for pages of large models; data.js reads them."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["base64_of", "encode_codes", "encode_few", "encode_rounded", "encode_texts"]

# A number in a name that reads back the same: no zero before it, at most five digits.
_NUMBER = re.compile(r"(?<!\d)(?:0|[1-9]\d{0,4})(?!\d)")
_LARGEST = 65_535
# Where a template has a number.
_HERE = "#"
# Fewer texts are written out.
_MANY_TEXTS = 200
# Codes of rounded numbers for null and for 0.
_NONE, _ZERO = 65_535, 65_534
# Relative error of rounded numbers: the fourth digit may be the next one.
_ROUNDING = 2.5e-4


def base64_of(codes: NDArray[Any]) -> str:
    """The bytes of an array as text."""
    return base64.b64encode(codes.tobytes()).decode("ascii")


def encode_codes(codes: NDArray[np.integer[Any]]) -> dict[str, Any]:
    """Whole numbers from -1 on, in as few bytes as the largest needs.

    Returns:
        "same" with "count" where all are equal; "in_order" (how many) where they count from 0;
        else "i1", "i2" or "i4" (integers of so many bytes in base64).
    """
    count = len(codes)
    if count and (codes == codes[0]).all():
        return {"same": int(codes[0]), "count": count}
    if (codes == np.arange(count)).all():
        return {"in_order": count}
    size = next(size for size in (1, 2, 4) if codes.max() <= np.iinfo(f"i{size}").max)
    return {f"i{size}": base64_of(codes.astype(f"<i{size}"))}


def encode_texts(texts: Sequence[str]) -> dict[str, Any]:
    """Different texts: written out, or many that differ in their numbers by these.

    Returns:
        "levels" (the texts). Or "templates" with ``#`` where a text has a number, the "template"
        of each text (see `encode_codes`), and "numbers" (uint16 in base64) of one text after the
        other.
    """
    numbers: list[int] = []

    def taken(found: re.Match[str]) -> str:
        number = int(found[0])
        if number > _LARGEST:
            return found[0]
        numbers.append(number)
        return _HERE

    if len(texts) < _MANY_TEXTS or any(_HERE in text for text in texts):
        return {"levels": list(texts)}
    codes, templates = pd.factorize(np.array([_NUMBER.sub(taken, text) for text in texts], object))
    if 4 * len(templates) > len(texts):
        return {"levels": list(texts)}
    return {
        "templates": list(templates),
        "template": encode_codes(codes),
        "numbers": base64_of(np.array(numbers, "<u2")),
    }


def encode_few(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], dict[str, Any]] | None:
    """The values that a column of numbers has, and the place of each row's among them.

    Returns:
        The values, ascending, and the places (see `encode_codes`; -1 for NaN); None where that
        takes no less room than the numbers themselves in four bytes.
    """
    different, places = np.unique(values[~np.isnan(values)], return_inverse=True)
    size = 1 if len(different) <= np.iinfo("i1").max else 2
    if len(different) > np.iinfo("i2").max or size * len(values) + 8 * len(different) > (
        4 * len(values)
    ):
        return None
    codes = np.full(len(values), -1)
    codes[~np.isnan(values)] = places
    return different, encode_codes(codes)


def encode_rounded(values: NDArray[np.float64]) -> dict[str, Any] | None:
    """Numbers in steps of one factor, two bytes each.

    Returns:
        "u2" (uint16 in base64), "low" and "step" (logarithms), "signed" and "log". A code is the
        number of steps from the smallest magnitude; where some numbers are negative, twice that,
        and one more for these; 65,534 for 0, 65,535 for NaN. None where the steps would be so
        wide, or a number is infinite, that four digits are not enough.
    """
    magnitudes = np.abs(values[(values != 0) & ~np.isnan(values)])
    if not len(magnitudes) or np.isinf(magnitudes).any():
        return None
    signed = bool((values < 0).any())
    low, high = (float(np.log(of)) for of in (magnitudes.min(), magnitudes.max()))
    step = (high - low) / (_ZERO // (2 if signed else 1) - 1)
    if step / 2 > _ROUNDING:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.rint((np.log(np.abs(values)) - low) / (step or 1.0))
        codes = 2 * steps + (values < 0) if signed else steps
    codes = np.where(np.isnan(values), _NONE, np.where(values == 0, _ZERO, codes))
    encoded = base64_of(codes.astype("<u2"))
    return {"u2": encoded, "low": low, "step": step, "log": True, "signed": signed}

"""Tables as compact JSON: numbers as typed arrays in base64, repeated text by its number."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlx_probe.analysis.robust import spans_decades
from mlx_probe.core.records import Column
from mlx_probe.report.numbers import floats

__all__ = ["encode_frame", "encode_numbers", "script_json"]

# Between these float32 rounds numbers, but neither overflows nor becomes 0.
_SMALLEST, _LARGEST = 1.2e-38, 3.4e38
_EXACT_INTEGERS = 2.0**24
# json.dumps leaves these alone; in a script element they could end it or start a comment, and
# older JavaScript took the separators for line ends.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def script_json(value: Any) -> str:
    """JSON that is inert inside a script element, whatever its strings hold.

    Args:
        value: Mappings, lists, strings, finite numbers, booleans, None.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def encode_numbers(values: NDArray[np.float64]) -> dict[str, str]:
    """Numbers as little-endian typed array in base64.

    Args:
        values: Any floats; NaN stands for null.

    Returns:
        ``{"f4": ...}`` with seven digits where float32 can hold the values, integers exactly;
        ``{"f8": ...}`` otherwise.
    """
    finite = np.abs(values[np.isfinite(values) & (values != 0)])
    fits = not len(finite) or (finite.min() > _SMALLEST and finite.max() < _LARGEST)
    if fits and bool((finite == np.floor(finite)).all()):
        fits = not len(finite) or bool(finite.max() <= _EXACT_INTEGERS)
    kind = "f4" if fits else "f8"
    return {kind: base64.b64encode(values.astype(f"<{kind}").tobytes()).decode("ascii")}


def encode_frame(frame: pd.DataFrame, columns: Sequence[Column] = ()) -> list[dict[str, Any]]:
    """The columns of a table for the page, in their order.

    Args:
        frame: Any table.
        columns: Family, unit and description of its columns, where they are known.

    Returns:
        For each column "name", "kind" ("int", "float", "bool" or "text"), "family", "unit",
        "about", "filled" (whether any row has a value), for numbers "log" (whether they span
        decades), and its values: one of "f4" and "f8" (see `encode_numbers`), or "levels" with
        "codes" (int32 in base64, -1 for null).
    """
    known = {column.name: column for column in columns}
    return [
        {
            "name": str(name),
            "family": known[name].family if name in known else "",
            "unit": known[name].unit if name in known else "",
            "about": known[name].description if name in known else "",
            **_encode_column(frame, str(name)),
        }
        for name in frame.columns
    ]


def _encode_column(frame: pd.DataFrame, name: str) -> Mapping[str, Any]:
    column = frame[name]
    if not pd.api.types.is_numeric_dtype(column):
        codes, levels = pd.factorize(column.map(_shown, na_action="ignore"))
        packed = base64.b64encode(codes.astype("<i4").tobytes()).decode("ascii")
        return {"kind": "text", "filled": len(levels) > 0, "levels": list(levels), "codes": packed}
    values = floats(frame, name)
    kind = "float"
    if pd.api.types.is_bool_dtype(column):
        kind = "bool"
    elif pd.api.types.is_integer_dtype(column):
        kind = "int"
    return {
        "kind": kind,
        "filled": not bool(np.isnan(values).all()),
        "log": spans_decades(values),
        **encode_numbers(values),
    }


def _shown(value: Any) -> str:
    """A value that is no number as text."""
    if isinstance(value, pd.Timestamp):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, (tuple, list, np.ndarray)):
        numbers = all(isinstance(item, (int, np.integer)) for item in value)
        return (" x " if numbers else ", ").join(map(str, value))
    return str(value)

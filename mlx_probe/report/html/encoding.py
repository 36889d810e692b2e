"""Tables as compact JSON: numbers as typed arrays in base64, repeated text by its number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlx_probe.analysis.families import family_title
from mlx_probe.analysis.robust import spans_decades
from mlx_probe.core.language import tr
from mlx_probe.core.records import Column
from mlx_probe.report.html.compact import (
    base64_of,
    encode_codes,
    encode_few,
    encode_rounded,
    encode_texts,
)
from mlx_probe.report.numbers import floats
from mlx_probe.report.reliability import FITTED, JUDGE

__all__ = ["encode_frame", "encode_numbers", "is_large", "script_json"]

# Between these float32 rounds numbers, but neither overflows nor becomes 0.
_SMALLEST, _LARGEST = 1.2e-38, 3.4e38
_EXACT_INTEGERS = 2.0**24
# Cells of a table that has all its digits in the page: 8 MB of base64.
_EXACT_CELLS = 750_000
# Cells of a table that has seven digits of each number: 13 MB of base64.
_SINGLE_CELLS = 2_500_000
# json.dumps leaves these alone; in a script element they could end it or start a comment, and
# older JavaScript took the separators for line ends.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def script_json(value: Any) -> str:
    """JSON that is inert inside a script element, whatever its strings hold.

    Args:
        value: Mappings, lists, strings, finite numbers, booleans, None.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def encode_numbers(values: NDArray[np.float64], exact: bool = False) -> dict[str, str]:
    """Numbers as little-endian typed array in base64.

    Args:
        values: Any floats; NaN stands for null.
        exact: Whether no digit may be lost.

    Returns:
        ``{"f4": ...}`` where float32 holds the values: all digits if ``exact``, else seven
        digits, and integers exactly; ``{"f8": ...}`` otherwise.
    """
    finite = np.abs(values[np.isfinite(values) & (values != 0)])
    fits = not len(finite) or (finite.min() > _SMALLEST and finite.max() < _LARGEST)
    if fits and bool((finite == np.floor(finite)).all()):
        fits = not len(finite) or bool(finite.max() <= _EXACT_INTEGERS)
    if fits and exact:
        fits = bool((finite.astype(np.float32) == finite).all())
    kind = "f4" if fits else "f8"
    return {kind: base64_of(values.astype(f"<{kind}"))}


def is_large(frame: pd.DataFrame) -> bool:
    """Whether a table has so many cells that seven digits of each take too much room."""
    return frame.size > _SINGLE_CELLS


def encode_frame(
    frame: pd.DataFrame, columns: Sequence[Column] = (), may_round: bool = False
) -> list[dict[str, Any]]:
    """The columns of a table for the page, in their order.

    Args:
        frame: Any table.
        columns: What is known of its columns.
        may_round: Whether a very large table may lose all but four digits of its floats.

    Returns:
        For each column "name", what is known of it (see `_meaning`), "kind" ("int", "float",
        "bool" or "text"), "filled" (whether any row has a value), "fit" (whether alpha_reliable
        is about it), for numbers "log" (whether they span decades), and its values: "f4" or "f8"
        (see `encode_numbers`; all digits unless the table is large); "few" (the different ones)
        with "codes" (see `encode_few`); "rounded" (see `encode_rounded`); or texts (see
        `encode_texts`) with "codes" (see `encode_codes`, -1 for null).
    """
    known = {column.name: column for column in columns}
    exact = frame.size <= _EXACT_CELLS
    rounded = may_round and is_large(frame)
    return [
        {
            "name": str(name),
            **_meaning(known.get(name, Column(str(name), "string", "", ""))),
            "fit": JUDGE in frame and name in FITTED,
            **_encode_column(frame, str(name), exact, rounded),
        }
        for name in frame.columns
    ]


def _meaning(column: Column) -> dict[str, str]:
    """What a reader may know of a column, in his language.

    Title, family, unit, "about" (its description), and "plain", "typical", "caveat" and "source"
    as in `Column`.
    """
    return {
        "title": tr(column.title) or column.name,
        "family": family_title(column.family),
        "unit": column.unit,
        "about": tr(column.description),
        "plain": tr(column.plain),
        "typical": tr(column.typical),
        "caveat": tr(column.caveat),
        "source": tr(column.source),
    }


def _encode_column(frame: pd.DataFrame, name: str, exact: bool, rounded: bool) -> Mapping[str, Any]:
    column = frame[name]
    if not pd.api.types.is_numeric_dtype(column):
        codes, levels = pd.factorize(column.map(_shown, na_action="ignore"))
        texts = encode_texts(list(levels))
        return {"kind": "text", "filled": len(levels) > 0, **texts, "codes": encode_codes(codes)}
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
        **_encode_values(values, exact, rounded and kind == "float"),
    }


def _encode_values(values: NDArray[np.float64], exact: bool, rounded: bool) -> dict[str, Any]:
    few = encode_few(values)
    if few is not None:
        return {"few": encode_numbers(few[0], exact=True), "codes": few[1]}
    small = encode_rounded(values) if rounded else None
    return encode_numbers(values, exact) if small is None else {"rounded": small}


def _shown(value: Any) -> str:
    """A value that is no number as text."""
    if isinstance(value, pd.Timestamp):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, (tuple, list, np.ndarray)):
        numbers = all(isinstance(item, (int, np.integer)) for item in value)
        return (" x " if numbers else ", ").join(map(str, value))
    return str(value)

"""Arrays of a mixture for its page: matrices of experts, and how a text was routed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlx_probe.report.html.compact import base64_of
from mlx_probe.report.html.encoding import encode_numbers

__all__ = ["EXACT", "ROUNDED", "encode_array", "encode_matrix", "encode_routing", "rooms"]

# Numbers of all matrices together that the page holds in full, and rounded to 16 bits: 11 MB and
# 13 MB of base64.
EXACT, ROUNDED = 2_000_000, 4_800_000
# Experts of all tokens and layers together: 5 MB of base64.
_ROUTED = 600_000
# No number, and no expert.
_NONE = 65_535


def rooms(maps: Mapping[str, NDArray[np.float32]]) -> tuple[bool, int]:
    """How the matrices fit into a page.

    Returns:
        Whether with all digits, and how many layers of each there is room for, at most.
    """
    layers = max((len(of) for of in maps.values()), default=0)
    each = sum(_size(of) for of in maps.values())
    if layers * each <= EXACT:
        return True, layers
    return False, min(layers, max(1, ROUNDED // each))


def encode_matrix(array: NDArray[np.float32], exact: bool, most: int) -> dict[str, Any]:
    """One array of each layer's experts.

    Args:
        array: (layers, experts, anything).
        exact: Whether with all digits; otherwise in steps of 1/65,534 of the range.
        most: Layers, at most; they are evenly spread, the first and the last among them.

    Returns:
        "layers": places of those that it has. "packed": whether only the upper half of symmetric
        matrices is there, row after row. The numbers, as in `encode_array`.
    """
    kept = np.unique(np.rint(np.linspace(0, len(array) - 1, min(most, len(array)))).astype(int))
    chosen = array[kept]
    packed = _is_symmetric(array)
    values = _upper(chosen) if packed else chosen
    numbers = {"layers": kept.tolist(), "packed": packed}
    return {**numbers, **encode_array(values, exact)}


def encode_array(array: NDArray[np.float32], exact: bool) -> dict[str, Any]:
    """Numbers in full as in `encode_numbers`, or in steps of 1/65,534 of their range.

    Args:
        array: Any shape; NaN stands for none.
        exact: Whether in full.

    Returns:
        See `encode_numbers`; or "u2" (uint16 in base64, 65,535 for none) with "low" and "step".
    """
    flat = array.astype(np.float64).ravel()
    if exact:
        return dict(encode_numbers(flat, exact=True))
    known = flat[np.isfinite(flat)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    step = (high - low) / (_NONE - 1) or 1.0
    codes = np.where(np.isfinite(flat), np.rint((flat - low) / step), _NONE).astype("<u2")
    return {"u2": base64_of(codes), "low": low, "step": step}


def encode_routing(frame: pd.DataFrame, layers: Sequence[int]) -> dict[str, Any] | None:
    """How a text was routed, in the order of reading.

    Args:
        frame: Rows with "token" (its place), "layer", "text", "experts" and "weights".
        layers: The layers' numbers.

    Returns:
        "texts" of the tokens; "experts" (uint16 in base64, 65,535 for none) and "weights" (as in
        `encode_numbers`) of token, layer and rank, the heaviest first; "width" (ranks); "cut"
        (whether there are more tokens). None for no tokens.
    """
    at = {layer: place for place, layer in enumerate(layers)}
    width = max((len(of) for of in frame["experts"]), default=0)
    names = sorted(frame["token"].unique())
    if not names or not width:
        return None
    kept = names[: max(1, _ROUTED // (len(layers) * width))]
    places = {int(token): place for place, token in enumerate(kept)}
    experts = np.full((len(kept), len(layers), width), _NONE, "<u2")
    weights = np.full(experts.shape, np.nan)
    texts = [""] * len(kept)
    columns = (frame[name].tolist() for name in ("token", "layer", "text", "experts", "weights"))
    for token, layer, text, chosen, shares in zip(*columns, strict=True):
        if token in places and layer in at:
            order = np.argsort(-np.asarray(shares, float), kind="stable")
            where = (places[token], at[layer], slice(0, len(order)))
            experts[where] = np.asarray(chosen)[order]
            weights[where] = np.asarray(shares, float)[order]
            texts[places[token]] = str(text)
    return {
        "texts": texts,
        "experts": base64_of(experts),
        "weights": encode_numbers(weights.ravel()),
        "width": width,
        "cut": len(kept) < len(names),
    }


def _size(array: NDArray[np.float32]) -> int:
    """Numbers of one layer in the page."""
    rows, width = (int(extent) for extent in array.shape[1:])
    return rows * (rows + 1) // 2 if _is_symmetric(array) else rows * width


def _is_symmetric(array: NDArray[np.float32]) -> bool:
    square = array.shape[1] == array.shape[2]
    return square and np.array_equal(array, array.transpose(0, 2, 1), equal_nan=True)


def _upper(array: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = np.triu_indices(array.shape[1])
    upper: NDArray[np.float32] = array[:, rows, columns]
    return upper

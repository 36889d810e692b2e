"""Singular values for the page, as many as a plot can show, beside those of noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlx_probe.metrics.random_matrix import null_singular_values
from mlx_probe.report.bulk import bulk_noise
from mlx_probe.report.html.encoding import encode_numbers

__all__ = ["BESIDE", "BUDGET", "encode_spectra", "plotted_ranks"]

# Values of all spectra together, in seven digits: 8 MB of base64.
BUDGET = 1_500_000
# What stands beside the values of a spectrum takes as much room as so many of them.
BESIDE = 30
_FROM_TOP, _FROM_BOTTOM = 200, 80


def plotted_ranks(count: int) -> NDArray[np.int64]:
    """Ranks that a log-log plot of a whole spectrum needs, counted from 1.

    Spaced evenly in the logarithm, from both ends, since spectra bend at the small end too.

    Args:
        count: Number of singular values.

    Returns:
        Ascending ranks, the first 1 and the last ``count``; all of them up to 300.
    """
    if count <= _FROM_TOP + _FROM_BOTTOM + 20:
        return np.arange(1, count + 1)
    top = np.geomspace(1, count, _FROM_TOP)
    bottom = count + 1 - np.geomspace(1, count, _FROM_BOTTOM)
    return np.unique(np.rint(np.concatenate([top, bottom])).astype(np.int64))


def encode_spectra(
    spectra: pd.DataFrame | None,
    frame: pd.DataFrame,
    first: Sequence[int],
    budget: int = BUDGET,
) -> dict[str, Any] | None:
    """The spectra that fit into the budget, those of ``first`` before all others.

    Args:
        spectra: As `load_spectra` returns them, or None.
        frame: The run's rows.
        first: Rows that get theirs before all others, most important first.
        budget: Values to keep, over all spectra.

    Returns:
        None without spectra. Else "total" and "kept"; "ranks", by number of singular values the
        ranks that are kept; "nulls", by shape the expected singular values of noise of standard
        deviation 1 at these ranks; "of", by row of the table "count" (of singular values),
        "shape" (key into nulls), "noise" (the bulk's standard deviation, None if it is not
        known) and the values (see `encode_numbers`); "copies", row to the row that has its
        spectrum.
    """
    if spectra is None:
        return None
    row_of = {key: row for row, key in enumerate(_keys(frame))}
    values = spectra["singular_values"].to_list()
    pairs = [(row_of[key], at) for at, key in enumerate(_keys(spectra)) if key in row_of]
    priority = {row: n for n, row in enumerate(first)}
    experts = frame["expert_index"].fillna(0) if "expert_index" in frame else [0] * len(frame)
    # Dense tensors and the first experts before the other experts, which are many and alike.
    pairs.sort(key=lambda pair: (priority.get(pair[0], len(first)), experts[pair[0]], pair[0]))
    # All digits take twice the room.
    lengths = Counter(len(values[at]) for _, at in pairs)
    ranks = {length: plotted_ranks(length) for length in lengths if length}
    exact = 2 * sum(len(of) * lengths[length] for length, of in ranks.items()) <= budget
    nulls: dict[str, Mapping[str, str]] = {}
    kept: dict[int, dict[str, Any]] = {}
    for row, at in pairs:
        sigma = np.asarray(values[at], dtype=np.float64)
        if not len(sigma):
            continue
        at_ranks = ranks[len(sigma)]
        if len(at_ranks) + BESIDE > budget:
            continue
        budget -= len(at_ranks) + BESIDE
        rows, cols = int(spectra["rows"].iloc[at]), int(spectra["cols"].iloc[at])
        shape, noise = f"{rows} x {cols}", bulk_noise(spectra, at, sigma)
        if noise is not None and shape not in nulls:
            null = null_singular_values(rows, cols, 1.0)
            nulls[shape] = encode_numbers(null[at_ranks - 1])
        kept[row] = {
            "count": len(sigma),
            "shape": shape,
            "noise": noise,
            **encode_numbers(sigma[at_ranks - 1], exact),
        }
    used = {entry["count"] for entry in kept.values()}
    return {
        "total": len(pairs),
        "kept": len(kept),
        "ranks": {str(n): of.tolist() for n, of in ranks.items() if n in used},
        "nulls": nulls,
        "copies": _copies(frame, kept.keys()),
        "of": {str(row): entry for row, entry in sorted(kept.items())},
    }


def _copies(frame: pd.DataFrame, kept: Collection[int]) -> dict[str, int]:
    """Rows whose spectrum is that of an earlier row with the same bytes."""
    if "alias_of" not in frame:
        return {}
    row_of: dict[str, int] = {}
    for row, (name, expert, part) in enumerate(_keys(frame)):
        label = name if expert is None else f"{name}[{expert}]"
        row_of.setdefault(label if part is None else f"{label} ({part})", row)
    pairs = ((row, row_of.get(of, row)) for row, of in enumerate(frame["alias_of"]) if pd.notna(of))
    return {str(row): of for row, of in pairs if of in kept and of != row}


def _keys(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """What identifies each row: name, expert, part; None for null."""
    lists = [
        [None if pd.isna(value) else value for value in frame[name]]
        if name in frame
        else [None] * len(frame)
        for name in ("param_name", "expert_index", "part")
    ]
    return list(zip(*lists, strict=True))

"""What the script of a page of signals draws: windows, experts, and the map of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mlx_probe.core.language import tr
from mlx_probe.core.records import Column
from mlx_probe.report.html.encoding import encode_frame
from mlx_probe.report.html.mixture_encoding import EXACT, ROUNDED, encode_array
from mlx_probe.report.mixture_data import measured_columns
from mlx_probe.report.signals_data import SignalsData
from mlx_probe.runs.mixture.signals import EXPERTS, TOKENS, WINDOWS

__all__ = ["signals_payload"]


def signals_payload(data: SignalsData) -> dict[str, Any]:
    """Everything that the page draws, as JSON values.

    Args:
        data: The run.

    Returns:
        "runs": one, as in `run_payload`, with the tables "windows", "experts" and "tokens".
        "sps": None, or "layers" (their numbers), "blocks", "block" (units of one), "sum" (layers
        x blocks, as in `encode_numbers`), and of single tokens "texts", "each" (tokens x layers x
        blocks, see `encode_array`), "cut" (whether there is no room for the others).
    """
    windows = measured_columns(data.windows)
    tables = {
        "windows": {
            **_table(data.windows, data.columns(WINDOWS)),
            "map": {"rows": None, "metrics": [n for n in windows if n not in (*_PLACES, "tokens")]},
        }
    }
    if data.experts is not None:
        tables["experts"] = {
            **_table(data.experts, data.columns(EXPERTS)),
            "map": {
                "rows": "expert",
                "layers": "layer",
                "split": None,
                "metrics": [n for n in measured_columns(data.experts) if n not in _PLACES],
                "told": [],
                "missing": tr("hatched: no number"),
            },
        }
    if data.tokens is not None:
        tables["tokens"] = _table(data.tokens, data.columns(TOKENS))
    run = {"name": data.name, "compare": False, "tables": tables, "groups": [], "group_names": []}
    return {
        "runs": [{**run, "outliers": [], "spectra": None, "quantization": []}],
        "pairs": None,
        "sps": _sps(data),
    }


# Columns that say which row it is.
_PLACES = ("layer", "expert", "window", "first_token")


def _table(frame: pd.DataFrame, columns: Sequence[Column]) -> dict[str, Any]:
    return {
        "rows": len(frame),
        "columns": encode_frame(frame, columns),
        "shown": list(frame.columns),
        "map": None,
    }


def _sps(data: SignalsData) -> dict[str, Any] | None:
    if data.sps is None:
        return None
    layers, blocks = data.sps.shape
    described = data.meta.get("sps") or {}
    found = {
        "layers": list(range(layers)),
        "blocks": blocks,
        "block": described.get("block"),
        "sum": encode_array(data.sps, exact=True),
        "texts": [],
        "each": None,
        "cut": False,
    }
    if data.each is None or data.tokens is None:
        return found
    count = max(1, min(len(data.each), ROUNDED // (layers * blocks)))
    return {
        **found,
        "texts": [str(text) for text in data.tokens["text"][:count]],
        "each": encode_array(data.each[:count], data.each.size <= EXACT),
        "cut": count < len(data.each),
    }

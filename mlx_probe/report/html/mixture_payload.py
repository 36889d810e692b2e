"""What the script of a mixture's page draws: tables, matrices of experts, a routed text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlx_probe.core.language import tr
from mlx_probe.core.records import Column
from mlx_probe.report.html.encoding import encode_frame
from mlx_probe.report.html.mixture_encoding import encode_matrix, encode_routing, rooms
from mlx_probe.report.mixture_data import EXPERT, LAYER, LOAD, MixtureData, measured_columns
from mlx_probe.runs.mixture.folder import EXPERTS, LAYERS

__all__ = ["mixture_payload"]

# Columns that tables show at first.
_SHOWN = 14
# What a cell tells besides its number.
_TOLD = ("liked_tokens",)
# Texts that say nothing about an expert.
_OTHER = ("status", "status_reason", "stack", "component", "order_reason")


def mixture_payload(data: MixtureData) -> dict[str, Any]:
    """Everything that the page draws, as JSON values.

    Args:
        data: The run.

    Returns:
        "runs": one, as in `run_payload`, with the tables "experts" and "layers"; the map of
        experts also says what a cell tells besides its number ("told"), and what a place without a
        number means ("missing"). "mixture": "layers" (what they are called), "places" (the layer
        of each row of experts), "experts" (of a layer), "load" (its column, or None), "tokens"
        (read, or None), "facts" (columns of an expert, the first to show first),
        "matrices" (by name; see `encode_matrix`, and "title", "about", "names" and "across" of
        the second axis, None where that is experts too), "routing" (see `encode_routing`).
    """
    experts = _table(data.experts, data.columns[EXPERTS])
    several = "stack" in data.experts and data.experts["stack"].nunique() > 1
    experts["map"] = {
        "rows": EXPERT,
        "split": "stack" if several else None,
        "metrics": measured_columns(data.experts),
        "told": [name for name in _TOLD if name in _texts(data.experts)],
        "missing": tr("hatched: no number"),
    }
    layers = _table(data.layers, data.columns[LAYERS])
    layers["map"] = {"rows": None, "metrics": measured_columns(data.layers)}
    return {
        "runs": [
            {
                "name": data.name,
                "compare": False,
                "tables": {"experts": experts, "layers": layers},
                "groups": [],
                "group_names": [],
                "outliers": [],
                "spectra": None,
                "quantization": [],
            }
        ],
        "pairs": None,
        "mixture": {
            "layers": data.labels,
            "places": data.places,
            "experts": data.count,
            "load": LOAD if LOAD in experts["map"]["metrics"] else None,
            "tokens": data.tokens,
            "facts": _facts(data),
            "matrices": _matrices(data),
            "routing": _routing(data),
        },
    }


def _table(frame: pd.DataFrame, known: Sequence[Column]) -> dict[str, Any]:
    shown = [name for name in frame.columns if name in (LAYER, EXPERT)]
    shown += measured_columns(frame)[:_SHOWN] + [name for name in _TOLD if name in _texts(frame)]
    listed = {column.name for column in known if column.type.startswith("list")} & {*frame.columns}
    shorter = frame.assign(
        **{name: frame[name].map(_joined, na_action="ignore") for name in listed}
    )
    columns = encode_frame(shorter, known)
    return {"rows": len(frame), "columns": columns, "shown": shown, "map": None}


def _joined(items: Sequence[Any]) -> str:
    """Tokens or numbers as one text; tokens may hold commas and spaces of their own."""
    return " | ".join(str(item).replace("\n", "↵") for item in items)


def _facts(data: MixtureData) -> list[str]:
    """Columns of experts that one asks for first: what the expert does, then what it is."""
    places = (LAYER, EXPERT, *_OTHER[2:])
    known = [column for column in data.columns[EXPERTS] if column.name not in places]
    return [c.name for c in sorted(known, key=lambda column: column.family != "routing")]


def _routing(data: MixtureData) -> dict[str, Any] | None:
    if data.routing is None:
        return None
    return encode_routing(data.routing, data.layers[LAYER].tolist())


def _texts(frame: pd.DataFrame) -> list[str]:
    """Columns of text that say something about an expert."""
    return [
        str(name)
        for name in frame.columns
        if name not in _OTHER
        and not pd.api.types.is_numeric_dtype(frame[name])
        and frame[name].notna().any()
    ]


def _matrices(data: MixtureData) -> dict[str, Any]:
    exact, most = rooms(data.maps)
    return {
        name: {**_described(data, name, array), **encode_matrix(array, exact, most)}
        for name, array in sorted(data.maps.items())
        if np.isfinite(array).any()
    }


def _described(data: MixtureData, name: str, array: NDArray[np.float32]) -> Mapping[str, Any]:
    written = _written(name)
    if array.shape[1] == array.shape[2] and not name.startswith("load_"):
        return {**written, "names": None, "across": ""}
    names = _bins(data, name, array.shape[2])
    return {**written, "names": names}


def _written(name: str) -> dict[str, str]:
    """What is known of an array of `MAPS`."""
    known = {
        "coactivation": {
            "title": tr("co-activation"),
            "about": tr("Tokens that both experts work on."),
        },
        "similarity": {
            "title": tr("similarity"),
            "about": tr(
                "Overlap of the leading subspaces of two experts, averaged over their matrices; 1 "
                "where they are the same."
            ),
        },
        "cosine": {
            "title": tr("cosine of weights"),
            "about": tr(
                "Cosine of all weights of two experts, in the stored order of hidden units; 1 for "
                "copies."
            ),
        },
        "router_cosine": {
            "title": tr("cosine of router rows"),
            "about": tr("Cosine of the router's rows of two experts; 1 where it cannot tell them."),
        },
        "load_by_type": {
            "title": tr("load by type of token"),
            "about": tr("Share of the tokens of each type that an expert works on."),
            "across": tr("type of token"),
        },
        "load_by_position": {
            "title": tr("load by position"),
            "about": tr("Share of the tokens at each place of the text that an expert works on."),
            "across": tr("place in the text"),
        },
    }
    plain = {"title": name.replace("_", " "), "about": "", "across": ""}
    part = name.removeprefix("similarity_")
    if part != name:
        of_part = tr("The same overlap, of the {part} projections alone.", part=part)
        plain |= {"title": tr("similarity, {part}", part=part), "about": of_part}
    return {**plain, **known.get(name, {})}


def _bins(data: MixtureData, name: str, count: int) -> Sequence[str]:
    """Names of the second axis of an array."""
    found = data.meta.get("bins")
    known = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(known, list) and len(known) == count:
        return [str(one) for one in known]
    return [str(at) for at in range(count)]

"""What the page's script draws: tables with the axes of their maps, spectra, outliers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mlx_probe.report.html.encoding import encode_frame
from mlx_probe.report.html.spectra import encode_spectra
from mlx_probe.report.outliers import Outlier, find_outliers
from mlx_probe.report.run_data import SIDE_TABLES, RunData, group_labels, metric_names

__all__ = ["page_payload"]

# Columns that the table shows before anybody chooses.
_SHOWN = (
    *("param_name", "layer_index", "block_type", "shape", "dtype", "rank", "stable_rank"),
    *("effective_rank", "std", "kurtosis", "condition_number", "alpha", "spikes", "q4_nrmse"),
    *("status", "relative_change", "cosine", "delta_rank", "delta_effective_rank"),
    *("left_overlap", "right_overlap", "intruder_count", "matched_by", "other_name"),
)
_SIDE_SHOWN = {
    "heads": (
        *("layer_index", "circuit", "head_index", "kv_head_index", "status", "rank"),
        *("spectral_norm", "stable_rank", "effective_rank", "top1_energy", "condition_number"),
    ),
    "experts": (
        *("layer_index", "block_type", "expert_index", "param_name", "norm_ratio", "dead"),
        *("duplicate_of", "nearest_expert", "nearest_cosine", "mean_cosine", "nearest_overlap"),
        *("chance_overlap", "router_norm"),
    ),
}
_NOT_FOR_COMPARE = ("shape", "dtype")
# What counts the rows of a map beside the layer, in the order of preference.
_MAP_ROWS = ("head_index", "expert_index")
_SPLIT = ("circuit", "block_type")
_BITS = ("q4_nrmse", "q8_nrmse")
_MOST_KINDS = 12


def page_payload(data: RunData) -> dict[str, Any]:
    """Everything that the page draws, as JSON values.

    Args:
        data: The run.

    Returns:
        "tables", by name; the first, "params", holds the run's rows. Each has "rows",
        "columns" (see `encode_frame`), "shown" (columns of the table view), and "map": None, or
        "rows" and "split" (columns), "metrics" (choices, the first drawn first).
        "groups": for each row of params a number into "group_names".
        "outliers": row, and for each reason kind and text.
        "spectra": see `encode_spectra`. "quantization": the filled columns.
        "compare": whether the rows are differences.
    """
    frame, outliers = data.frame, find_outliers(data.frame)
    codes, names = pd.factorize(pd.Series(group_labels(frame), dtype=object))
    metrics = metric_names(frame)
    shown = [n for n in _SHOWN if n in frame and not (data.is_compare and n in _NOT_FOR_COMPARE)]
    tables = {
        "params": {
            "rows": len(frame),
            "columns": encode_frame(frame, data.columns),
            "shown": [n for n in shown if frame[n].notna().any()] or list(frame.columns[:8]),
            "map": {"rows": None, "split": None, "metrics": metrics} if metrics else None,
        },
        **{name: _side(name, side) for name, side in data.sides.items()},
    }
    return {
        "compare": data.is_compare,
        "tables": tables,
        "groups": codes.tolist(),
        "group_names": list(names),
        "outliers": [_outlier(outlier) for outlier in outliers],
        "spectra": encode_spectra(data.spectra, frame, [outlier.row for outlier in outliers]),
        "quantization": [name for name in _BITS if name in metrics],
    }


def _side(name: str, side: pd.DataFrame) -> dict[str, Any]:
    rows = next((name for name in _MAP_ROWS if name in side), None)
    metrics = [name for name in metric_names(side) if name not in _MAP_ROWS]
    split = next((n for n in _SPLIT if n in side and 1 < side[n].nunique() <= _MOST_KINDS), None)
    on_map = rows is not None and "layer_index" in side and bool(metrics)
    shown = [n for n in _SIDE_SHOWN[name] if n in side] or list(side.columns[:12])
    return {
        "rows": len(side),
        "columns": encode_frame(side, SIDE_TABLES[name]),
        "shown": shown,
        "map": {"rows": rows, "split": split, "metrics": metrics} if on_map else None,
    }


def _outlier(outlier: Outlier) -> dict[str, Any]:
    return {"row": outlier.row, "reasons": [[r.kind, r.text] for r in outlier.reasons]}

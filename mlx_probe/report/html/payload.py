"""What the page's script draws: tables with the axes of their maps, spectra, outliers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mlx_probe.analysis.side_tables import SIDES, Side
from mlx_probe.analysis.typical import with_typical_texts
from mlx_probe.report.facts import title_of
from mlx_probe.report.html.encoding import encode_frame, is_large
from mlx_probe.report.html.pairs import encode_pairs
from mlx_probe.report.html.spectra import BUDGET, encode_spectra
from mlx_probe.report.outliers import Outlier, find_outliers
from mlx_probe.report.run_data import RunData, group_labels, metric_names

__all__ = ["page_payload", "run_payload"]

# Columns that the table shows at first.
_SHOWN = (
    *("param_name", "layer_index", "block_type", "shape", "dtype", "rank", "stable_rank"),
    *("effective_rank", "std", "kurtosis", "condition_number", "alpha", "spikes", "q4_nrmse"),
    *("status", "relative_change", "cosine", "delta_rank", "delta_effective_rank"),
    *("left_overlap", "right_overlap", "intruder_count", "matched_by", "other_name"),
)
_NOT_FOR_COMPARE = ("shape", "dtype")
_BITS = ("q4_nrmse", "q8_nrmse")
# Maps of one side table, at most.
_MOST_GROUPS = 12
# Values of the spectra beside a table that is very large itself: 1.6 MB of base64.
_BUDGET_BESIDE = BUDGET // 5


def page_payload(runs: Sequence[RunData]) -> dict[str, Any]:
    """Everything that the page draws, as JSON values.

    Args:
        runs: One run, or two.

    Returns:
        "runs": see `run_payload`. "pairs": None for one run, else see `encode_pairs`.
    """
    return {
        # Rounded numbers would differ where those of two runs do not.
        "runs": [run_payload(run, may_round=len(runs) == 1) for run in runs],
        "pairs": encode_pairs(*runs) if len(runs) > 1 else None,
    }


def run_payload(data: RunData, may_round: bool = False) -> dict[str, Any]:
    """What the page draws of one run, as JSON values.

    Args:
        data: The run.
        may_round: As in `encode_frame`.

    Returns:
        "name": of the model.
        "tables", by name; the first, "params", holds the run's rows. Each has "rows", "columns"
        (see `encode_frame`), "shown" (columns of the table view), and "map": None, or "rows" and
        "split" (columns), "metrics" (choices, the first drawn first).
        "groups": for each row of params a number into "group_names".
        "outliers": row, and for each reason kind and text.
        "spectra": see `encode_spectra`. "quantization": the filled columns.
        "compare": whether the rows are differences.
    """
    frame, outliers = data.frame, find_outliers(data.frame)
    codes, names = pd.factorize(pd.Series(group_labels(frame), dtype=object))
    metrics = metric_names(frame)
    shown = [n for n in _SHOWN if n in frame and not (data.is_compare and n in _NOT_FOR_COMPARE)]
    if data.meta.get("sample"):
        # Why most of the numbers are missing, beside what the row is.
        shown.insert(shown.index("block_type") + 1, shown.pop(shown.index("status")))
    table = "compare" if data.is_compare else "params"
    tables = {
        "params": {
            "rows": len(frame),
            "columns": encode_frame(frame, with_typical_texts(data.columns, table), may_round),
            "shown": [n for n in shown if frame[n].notna().any()] or list(frame.columns[:8]),
            "map": {"rows": None, "split": None, "metrics": metrics} if metrics else None,
        },
        **{key: _side(key, SIDES[key], frame) for key, frame in data.sides.items()},
    }
    return {
        "name": title_of(data),
        "compare": data.is_compare,
        "tables": tables,
        "groups": codes.tolist(),
        "group_names": list(names),
        "outliers": [_outlier(outlier) for outlier in outliers],
        "spectra": encode_spectra(
            *(data.spectra, frame, [outlier.row for outlier in outliers]),
            budget=_BUDGET_BESIDE if is_large(frame) else BUDGET,
        ),
        "quantization": [name for name in _BITS if name in metrics],
    }


def _side(name: str, side: Side, frame: pd.DataFrame) -> dict[str, Any]:
    # An older run may lack columns.
    shown = [name for name in side.shown if name in frame] or list(frame.columns[:12])
    return {
        "rows": len(frame),
        "columns": encode_frame(frame, with_typical_texts(side.columns, name)),
        "shown": shown,
        "map": _side_map(side, frame),
    }


def _side_map(side: Side, frame: pd.DataFrame) -> dict[str, Any] | None:
    metrics = [name for name in metric_names(frame) if name != side.map_rows]
    if side.map_rows not in frame or "layer_index" not in frame or not metrics:
        return None
    group = side.group if side.group in frame else None
    several = group is not None and 1 < frame[group].nunique() <= _MOST_GROUPS
    return {"rows": side.map_rows, "split": group if several else None, "metrics": metrics}


def _outlier(outlier: Outlier) -> dict[str, Any]:
    return {"row": outlier.row, "reasons": [[r.kind, r.text] for r in outlier.reasons]}

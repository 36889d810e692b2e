"""What the script of a page of a series draws."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mlx_probe.analysis.series.tables import CHANGE_COLUMNS
from mlx_probe.report.html.encoding import encode_frame
from mlx_probe.report.html.training_payload import MOST_CELLS, thinned
from mlx_probe.report.html.training_spectra import BUDGET, encode_training_spectra
from mlx_probe.report.run_data import group_labels
from mlx_probe.report.series_data import SeriesData
from mlx_probe.report.training_data import snapshot_metrics

__all__ = ["series_payload"]

_IDENTITY = (
    *("step", "param_name", "layer_index", "block_type", "shape", "expert_index", "part", "status"),
)
# Columns that the table shows at first.
_SHOWN = (
    *("step", "param_name", "layer_index", "block_type", "rank", "effective_rank", "stable_rank"),
    *("spectral_norm", "rms", "alpha", "alpha_reliable", "change_since", "status"),
)


def series_payload(data: SeriesData) -> dict[str, Any]:
    """Everything that the page draws, as JSON values.

    Args:
        data: The series.

    Returns:
        "runs": one, as of `training_payload`, without curves of a training, with the table
        "changes" and their list "changes"; "pairs": None.
    """
    rows = thinned(data.frame, MOST_CELLS)
    names = snapshot_metrics(rows)
    identity = [name for name in _IDENTITY if name in rows]
    frame = rows[list(dict.fromkeys([*identity, *names]))]
    codes, groups = pd.factorize(pd.Series(group_labels(rows), dtype=object))
    changes = data.meta["changes"]
    run = {
        "name": data.name,
        "compare": False,
        "tables": {
            "params": {
                "rows": len(frame),
                "columns": encode_frame(frame, data.columns),
                "shown": [name for name in _SHOWN if name in frame],
                "map": {"rows": None, "split": None, "metrics": names},
            },
            "changes": {
                "rows": len(changes),
                "columns": encode_frame(_changes(changes), CHANGE_COLUMNS),
                "shown": [column.name for column in CHANGE_COLUMNS],
                "map": None,
            },
        },
        "groups": codes.tolist(),
        "group_names": list(groups),
        "outliers": [],
        "spectra": encode_training_spectra(data.folder, rows, BUDGET),
        "quantization": [],
        "snapshots": [int(step) for step in rows["step"].unique()],
        "changes": changes,
    }
    return {"runs": [run], "pairs": None}


def _changes(changes: list[dict[str, Any]]) -> pd.DataFrame:
    """The changes as a table."""
    names = {"param_name": "tensor", "layer_index": "layer"}
    columns = {
        column.name: [change[names.get(column.name, column.name)] for change in changes]
        for column in CHANGE_COLUMNS
    }
    types = {"int64": "Int64", "float64": "float64", "string": "string"}
    frame: pd.DataFrame = pd.DataFrame(
        {
            column.name: pd.Series(columns[column.name], dtype=types[column.type])
            for column in CHANGE_COLUMNS
        }
    )
    return frame

"""What the script of a page of training runs draws: curves, rows over the steps, spectra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlx_probe.report.html.encoding import encode_frame
from mlx_probe.report.html.training_curves import MOST_POINTS, encode_curves
from mlx_probe.report.html.training_spectra import BUDGET, encode_training_spectra
from mlx_probe.report.run_data import group_labels
from mlx_probe.report.training_data import TrainingData, snapshot_metrics
from mlx_probe.report.training_series import (
    EVALUATED,
    OF_STEPS,
    evaluations,
    with_train_bpb,
)
from mlx_probe.runs.training.metrics import COLUMNS, TRAIN_BPB

__all__ = ["MOST_CELLS", "training_payload"]

# Numbers of all rows over the steps together: 8 MB of base64.
MOST_CELLS = 1_500_000
_IDENTITY = ("step", "param_name", "layer_index", "block_type", "shape")
# Of comparisons with the base: a name alone does not tell parts and experts apart.
_OF_TUNING = (*_IDENTITY, "other_name", "expert_index", "part", "status", "status_reason")
# Columns that the tables show at first.
_SHOWN = (
    *("step", "param_name", "layer_index", "block_type", "spectral_norm", "stable_rank"),
    *("effective_rank", "rank", "std", "alpha", "alpha_reliable", "spectral_change"),
    *("relative_change", "delta_rank", "delta_energy_rank_90", "delta_effective_rank"),
    *("intruder_count", "right_intruder_count", "status"),
)


def training_payload(runs: Sequence[TrainingData]) -> dict[str, Any]:
    """Everything that the page draws, as JSON values.

    Args:
        runs: One run or more; they share the room of the page.

    Returns:
        "runs": for each what `run_payload` gives of a run whose table "params" has the rows of
        its snapshots, besides the table "evaluations", "curves" (see `encode_curves`) and
        "snapshots" (their steps).
    """
    room = len(runs)
    return {"runs": [_run(run, room) for run in runs], "pairs": None}


def _run(data: TrainingData, room: int) -> dict[str, Any]:
    metrics = with_train_bpb(data.run.metrics, data.bytes_per_token)
    rows = thinned(data.frame, MOST_CELLS // room)
    names = snapshot_metrics(rows) if len(rows) else []
    wanted = _OF_TUNING if data.run.is_tuning else _IDENTITY
    identity = [name for name in wanted if name in rows]
    frame = rows[list(dict.fromkeys([*identity, *names]))]
    codes, groups = pd.factorize(pd.Series(group_labels(rows) if len(rows) else [], dtype=object))
    evaluated = _evaluations(metrics)
    return {
        "name": data.label,
        "compare": False,
        "tables": {
            "params": {
                "rows": len(frame),
                "columns": encode_frame(frame, data.columns),
                "shown": [name for name in _SHOWN if name in frame],
                "map": {"rows": None, "split": None, "metrics": names},
            },
            "evaluations": {
                "rows": len(evaluated),
                "columns": encode_frame(evaluated, (*COLUMNS, TRAIN_BPB)),
                "shown": [
                    n
                    for n in ("step", "tokens", "seconds", *EVALUATED, *OF_STEPS)
                    if n in evaluated and evaluated[n].notna().any()
                ],
                "map": None,
            },
        },
        "groups": codes.tolist(),
        "group_names": list(groups),
        "outliers": [],
        "spectra": encode_training_spectra(data.run, rows, BUDGET // room) if len(rows) else None,
        "quantization": [],
        "curves": encode_curves(metrics, max(200, MOST_POINTS // room)),
        "snapshots": [int(step) for step in rows["step"].unique()],
    }


def thinned(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """The rows of as many snapshots as the page has room for, the first and the last among them.

    Args:
        frame: Rows of all snapshots.
        most: Numbers in them, at most; two snapshots are kept in any case.
    """
    steps = frame["step"].unique()
    rows = len(frame) / max(1, len(steps))
    fitting = max(2, int(most // max(1.0, rows * len(frame.columns))))
    if len(steps) <= fitting:
        return frame
    kept = steps[np.unique(np.rint(np.linspace(0, len(steps) - 1, fitting)).astype(int))]
    chosen: pd.DataFrame = frame[frame["step"].isin(kept)].reset_index(drop=True)
    return chosen


def _evaluations(metrics: pd.DataFrame) -> pd.DataFrame:
    """The lines of metrics with an evaluation; the last line of a run without any.

    The table has every column that a curve is of, so that the page knows what they mean.
    """
    evaluated = evaluations(metrics)
    rows = evaluated if any(name in metrics for name in EVALUATED) else metrics[-1:]
    # Thousands of evaluations are a table that nobody reads; the curves have them.
    rows = rows if len(rows) <= MOST_POINTS else rows[-MOST_POINTS:]
    described = (column.name for column in (*COLUMNS, TRAIN_BPB))
    every = list(dict.fromkeys([*described, *(n for n in OF_STEPS if n in metrics)]))
    every += [name for name in EVALUATED if name in metrics and name not in every]
    frame: pd.DataFrame = rows.reindex(columns=every).reset_index(drop=True)
    tokens = frame["tokens"]
    if tokens.notna().all():
        frame["tokens"] = tokens.astype("int64")
    return frame

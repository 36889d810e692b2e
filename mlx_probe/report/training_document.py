"""What `mlx-probe report --terminal --json` prints of training runs, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mlx_probe.analysis.training.outcome import outcome_texts
from mlx_probe.report.changes import (
    FIGURES,
    changed_kinds,
    changed_layers,
    largest_changes,
    tensor_label,
)
from mlx_probe.report.numbers import floats
from mlx_probe.report.run_data import group_labels
from mlx_probe.report.training_data import TrainingData
from mlx_probe.report.training_series import evaluations

__all__ = ["training_document"]


def training_document(
    runs: Sequence[TrainingData],
    metrics: Sequence[str],
    comparison: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Results, sentences, evaluations, and metrics over the snapshots.

    Args:
        runs: The runs.
        metrics: Columns of their snapshots.
        comparison: What `compare_results` returned of the evaluations before and after.
    """
    return {
        "kind": "train",
        "runs": [_run(run, metrics) for run in runs],
        "evaluation": comparison,
    }


def _run(data: TrainingData, metrics: Sequence[str]) -> dict[str, Any]:
    run = data.run
    said = [
        {"topic": "outcome", "sentence": text.english, "matrices": [], "evidence": {}}
        for text in outcome_texts(data.outcome)
    ]
    said += [
        {
            "topic": statement.topic,
            "sentence": statement.sentence.english,
            "matrices": list(statement.names),
            "evidence": dict(statement.evidence),
        }
        for statement in data.said
    ]
    rows = evaluations(run.metrics)
    return {
        "run": str(run.folder),
        "name": data.label,
        "kind": run.kind,
        "outcome": asdict(data.outcome),
        "statements": said,
        "evaluations": [
            {name: _value(value) for name, value in zip(rows.columns, row, strict=True)}
            for row in rows.itertuples(index=False, name=None)
        ],
        "snapshots": data.steps,
        "difference": _difference(data),
        "samples": run.samples.to_dict("records"),
        "metrics": [{"name": name, "points": _points(data, name)} for name in metrics],
    }


def _difference(data: TrainingData) -> dict[str, Any] | None:
    """What changed most by the last compared snapshot of a tuning."""
    if data.difference is None:
        return None
    rows = data.difference.rows
    return {
        "step": data.difference.step,
        "kinds": [
            {"kind": kind.kind, "changed": kind.changed, **_finite(kind.medians)}
            for kind in changed_kinds(rows)
        ],
        "tensors": [
            {"tensor": tensor_label(row), **_finite({name: row.get(name) for name in FIGURES})}
            for row in largest_changes(rows)
        ],
        "layers": [_finite(asdict(layer)) for layer in changed_layers(rows)],
    }


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """None for what JSON has no number for: a matrix of zeros changed infinitely."""
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in values.items()
    }


def _points(data: TrainingData, name: str) -> list[dict[str, Any]]:
    """A column at each row and step that has a number."""
    frame = data.frame
    if name not in frame:
        return []
    values, layers = floats(frame, name), floats(frame, "layer_index")
    rows = zip(frame["step"], frame["param_name"], group_labels(frame), layers, values, strict=True)
    return [
        {
            "step": int(step),
            "tensor": str(tensor),
            "group": group,
            "layer": None if np.isnan(layer) else int(layer),
            "value": float(value),
        }
        for step, tensor, group, layer, value in rows
        if np.isfinite(value)
    ]


def _value(value: Any) -> Any:
    """A number of a line of metrics; None for none."""
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return int(value)

"""What commands print with --json: runs, models, checks and reports as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.checkpoint.naming.classify import classify

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.checkpoint import Checkpoint
    from mlx_probe.report.run_data import RunData
    from mlx_probe.runs.check import Check
    from mlx_probe.runs.run import Run

__all__ = [
    "checks_document",
    "model_document",
    "page_document",
    "profile_document",
    "rows_document",
    "run_document",
]

# The phases of a run's time; the other entries of "seconds" are parts of these.
_STAGES = ("open", "measure", "validate", "write")


def run_document(run: Run) -> dict[str, Any]:
    """A run that has just ended: what it is of, what it found and took, where it is."""
    meta = run.meta
    return {
        "kind": meta["kind"],
        "run": str(run.meta_path),
        "models": _models(meta),
        "rows": sum(meta["rows_by_status"].values()),
        "rows_by_status": meta["rows_by_status"],
        "sample": meta.get("sample"),
        "passed": run.passed,
        "failures": list(run.failures),
        "complete": run.complete,
        "unread": run.unread,
        "seconds": sum(meta["seconds"].get(stage, 0.0) for stage in _STAGES),
        "peak_process_memory": meta["peak_process_memory"],
        "peak_device_memory": meta["peak_device_memory"],
        "backend": meta["backend"],
        "device": meta["device"],
        "outputs": [str(path) for path in run.outputs],
        "findings": meta.get("findings"),
        "summary": meta.get("summary"),
        "extraction": meta.get("extraction"),
    }


def model_document(checkpoint: Checkpoint) -> dict[str, Any]:
    """A model and its tensors, from file headers."""
    files, adapter = checkpoint.files, checkpoint.adapter
    opener = files.opener
    parameters = checkpoint.parameters
    return {
        "model": files.model_id,
        "revision": files.revision,
        "path": str(files.path),
        "files": [str(path) for path in files.weights],
        "format": checkpoint.framework,
        "architecture": checkpoint.architecture.describe(),
        "adapter": adapter.describe() if adapter else None,
        "parameters": sum(parameter.numel for parameter in parameters),
        "nbytes": sum(parameter.nbytes for parameter in parameters),
        "fetched": None if opener is None else opener.fetched,
        "tensors": [
            {
                "name": parameter.name,
                "block_type": (role := classify(parameter.name)).block_type,
                "layer_index": role.layer_index,
                "shape": list(parameter.shape),
                "stored_as": parameter.stored_as,
                "numel": parameter.numel,
                "nbytes": parameter.nbytes,
                "problem": parameter.problem or None,
            }
            for parameter in parameters
        ],
    }


def rows_document(run: Path, rows: pa.Table, meta: Mapping[str, Any]) -> dict[str, Any]:
    """A finished run's rows without their numbers, and how many have which status."""
    return {
        "run": str(run),
        "kind": meta.get("kind", "analyze"),
        "models": _models(meta),
        "rows_by_status": meta.get("rows_by_status"),
        "sample": meta.get("sample"),
        "rows": rows.to_pylist(),
    }


def _models(meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model, or both models of a comparison; none that the metadata do not describe."""
    models = meta.get("models") if meta.get("kind") == "compare" else {"": meta.get("model")}
    described = models.values() if isinstance(models, Mapping) else ()
    return [
        {key: str(model.get(key, "")) for key in ("id", "revision", "path")}
        for model in described
        if isinstance(model, Mapping)
    ]


def checks_document(run: Path, checks: Sequence[Check]) -> dict[str, Any]:
    """The checks of a run, and whether all of them passed."""
    return {
        "run": str(run),
        "passed": all(check.passed for check in checks),
        "checks": [
            {"name": check.name, "passed": check.passed, "detail": check.detail} for check in checks
        ],
    }


def page_document(runs: Sequence[Path], page: Path) -> dict[str, Any]:
    """A page that was written, of one run or two."""
    return {"runs": [str(run) for run in runs], "page": str(page), "nbytes": page.stat().st_size}


def profile_document(run: Path, data: RunData, metrics: Sequence[str]) -> dict[str, Any]:
    """What the report says on a terminal: the run, numbers over the layers, outliers."""
    from mlx_probe.report.figures import plot
    from mlx_probe.report.outliers import find_outliers

    names = data.frame["param_name"]
    if "other_name" in data.frame:
        # Rows of a comparison that only the second model has.
        names = names.fillna(data.frame["other_name"])
    return {
        "run": str(run),
        "kind": data.meta.get("kind", "analyze"),
        "models": _models(data.meta),
        "rows_by_status": data.meta.get("rows_by_status"),
        "sample": data.meta.get("sample"),
        "metrics": [_plotted(plot([run], name, view="map").describe()) for name in metrics],
        "outliers": [
            {
                "tensor": str(names.iloc[outlier.row]),
                "row": outlier.row,
                "reasons": [
                    {"kind": reason.kind, "column": reason.column, "size": reason.size}
                    for reason in outlier.reasons
                ],
            }
            for outlier in find_outliers(data.frame)
        ],
    }


def _plotted(figure: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a figure; how it would be drawn is left out."""
    kept = ("group", "tensor", "layer", "value", "low", "high", "count", "reliable")
    points = [{name: point[name] for name in kept} for point in figure["points"]]
    return {"name": figure["metric"], "unit": figure["unit"], "points": points}

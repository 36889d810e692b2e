"""A finished run again: is its table what was written, and right? Where is its model?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe import checkpoint as checkpoints
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.plan import select_weights
from mlx_probe.analysis.spotcheck import spot_check
from mlx_probe.analysis.table_checks import validate_table
from mlx_probe.checkpoint import Checkpoint
from mlx_probe.core.errors import CheckpointError, ResultError
from mlx_probe.core.records import ModelFiles
from mlx_probe.runs.check import Check
from mlx_probe.runs.load import locate_run, read_table
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.outputs import verify_hashes

__all__ = ["no_failures", "reopen", "validate_run"]


def validate_run(path: str | Path, recompute: bool = True) -> list[Check]:
    """Check a finished run: its files, its table, and a few tensors recomputed.

    Args:
        path: Run folder, run_meta.json, or one of the tables.
        recompute: Whether to recompute tensors from the model's files.

    Returns:
        One check for each promise.

    Raises:
        ResultError: There is no finished run, it cannot be read, or the model it was made from
            is gone or has changed.
    """
    table, columns, meta = read_table(path)
    meta_path = locate_run(Path(path))
    try:
        expected_rows = sum(meta["rows_by_status"].values())
        config = _config_from_meta(meta) if recompute else AnalyzeConfig()
        files = _files_from_meta(meta) if recompute else None
    except (AttributeError, KeyError, TypeError) as error:
        raise ResultError(
            f"{meta_path} does not tell what this version of mlx-probe needs: {error!r}",
            "Analyze the model again",
        ) from error
    checks = verify_hashes(meta_path.parent, meta)
    checks += validate_table(table, columns, expected_rows)
    rows = table.to_pylist()
    checks.append(no_failures(rows))
    if files is not None:
        with _reopened(files) as checkpoint:
            weights = select_weights(checkpoint.weights(), config.include, config.exclude)
            if [w.name for w in weights] != [row["param_name"] for row in rows]:
                raise ResultError(
                    f"{checkpoint.files.path} no longer holds the tensors of this run",
                    "Analyze it again, or use --no-recompute to check the table alone",
                )
            checks += spot_check(weights, rows, config)
    return checks


def reopen(run: str | Path) -> Checkpoint:
    """The model that a finished run was made from, as it lies on this disk.

    Args:
        run: Run folder, run_meta.json, or one of the tables.

    Raises:
        ResultError: There is no finished run, or its model is gone or damaged.
    """
    meta_path = locate_run(Path(run))
    try:
        files = _files_from_meta(read_meta(meta_path))
    except (AttributeError, KeyError, TypeError) as error:
        raise ResultError(
            f"{meta_path} does not tell one model that its run was made from: {error!r}",
            "Name a run of `mlx-probe analyze`",
        ) from error
    return _reopened(files)


def no_failures(rows: Sequence[Mapping[str, Any]]) -> Check:
    """Whether every factorization of a table's rows converged."""
    failed = [row["param_name"] for row in rows if row["status"] == "failed"]
    detail = f"{len(failed)} failed, the first: {failed[0]}" if failed else "none failed"
    return Check("factorizations", not failed, detail)


def _config_from_meta(meta: Mapping[str, Any]) -> AnalyzeConfig:
    entries: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in meta["configuration"].items()
    }
    return AnalyzeConfig(**entries)


def _reopened(files: ModelFiles) -> Checkpoint:
    try:
        return checkpoints.open_checkpoint(files)
    except CheckpointError as error:
        raise ResultError(
            f"the model of this run cannot be read again: {error.fact}",
            "Bring its files back, or use --no-recompute to check the table alone",
        ) from error


def _files_from_meta(meta: Mapping[str, Any]) -> ModelFiles:
    model = meta["model"]
    return ModelFiles(
        model_id=model["id"],
        revision=model["revision"],
        path=Path(model["path"]),
        weights=tuple(Path(path) for path in model["weights"]),
        index=Path(model["index"]) if model["index"] else None,
        config=Path(model["config"]) if model["config"] else None,
    )

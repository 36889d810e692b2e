"""run_meta.json: how a table was made, and its columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import replacing
from mlx_probe.core.records import Column
from mlx_probe.runs.commands import COMMANDS, MEASURES, command_name
from mlx_probe.runs.mixture.folder import KIND as STATS
from mlx_probe.runs.mixture.signals import KIND as SIGNALS
from mlx_probe.runs.training.folder import KINDS, training_remedy

__all__ = [
    "check_kind",
    "columns_from_meta",
    "columns_to_meta",
    "is_other_kind",
    "read_meta",
    "read_run_meta",
    "refuse_without_table",
    "write_meta",
]


def write_meta(path: Path, meta: Mapping[str, Any]) -> None:
    """Write the run metadata atomically: its presence marks the run as complete.

    Args:
        path: The file.
        meta: Strings, numbers, lists and mappings, in the order of the file.

    Raises:
        ResultError: The disk refused; an older file stays as it was.
        TypeError: A value that JSON does not know.
        ValueError: A NaN or an infinity.
    """
    text = json.dumps(meta, indent=2, allow_nan=False, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_meta(path: Path) -> dict[str, Any]:
    """Read what `write_meta` wrote.

    Raises:
        ResultError: The file is not there, or is not a JSON object.
    """
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(
            f"cannot read {path}: {error}", "Restore the file, or run `mlx-probe analyze` again"
        ) from error
    if not isinstance(meta, dict):
        raise ResultError(
            f"{path} is not a JSON object", "Restore the file, or run `mlx-probe analyze` again"
        )
    return meta


def read_run_meta(path: Path) -> dict[str, Any]:
    """The same for a run of `analyze` or `compare`.

    Raises:
        ResultError: As for `read_meta` and `check_kind`.
    """
    meta = read_meta(path)
    check_kind(path, meta)
    return meta


def check_kind(path: Path, meta: Mapping[str, Any]) -> None:
    """Refuse a run that is no measurement of weights, or of a later version's command.

    Args:
        path: What the message names.
        meta: Run metadata; old ones name no kind and are of an analysis.

    Raises:
        ResultError: The run is neither of `analyze` nor of `compare`; the remedy says what shows
            it, and of a training run what to name instead.
    """
    refuse_without_table(path, meta)
    kind = meta.get("kind", "analyze")
    if kind in (STATS, SIGNALS):
        raise ResultError(
            f"{path} describes the experts of a mixture, and has no table of weights",
            "`mlx-probe report` shows it",
        )
    if kind not in ("analyze", "compare"):
        raise ResultError(
            f"{path} is of the kind {str(kind)[:80]!r}, which this version does not know",
            "Update mlx-probe, or leave it out",
        )


def is_other_kind(path: Path) -> bool:
    """Whether a metadata file is of a known command that measures no weights.

    Not if it cannot be read, or is of an unknown kind: whoever reads it says so.
    """
    try:
        kind = read_meta(path).get("kind")
    except ResultError:
        return False
    return isinstance(kind, str) and kind in COMMANDS and kind not in MEASURES


def refuse_without_table(path: Path, meta: Mapping[str, Any]) -> None:
    """Refuse a run that has no tables at all: of training, evaluation, grafting and the like.

    Args:
        path: What the message names.
        meta: Run metadata.

    Raises:
        ResultError: It is such a run; the remedy says what shows it.
    """
    _refuse_training(path, meta)
    kind = meta.get("kind")
    if isinstance(kind, str) and kind in COMMANDS and kind not in (*MEASURES, STATS, SIGNALS):
        folder = path if path.is_dir() else path.parent
        raise ResultError(
            f"{path} is of `mlx-probe {command_name(kind)}`, which measures no weights",
            f"`mlx-probe runs show {folder}` shows it",
        )


def _refuse_training(path: Path, meta: Mapping[str, Any]) -> None:
    kind = meta.get("kind")
    if isinstance(kind, str) and kind in KINDS:
        folder = path if path.is_dir() else path.parent
        raise ResultError(
            f"{path} is of a training run, which is no measurement of a model",
            training_remedy(folder),
        )


def columns_to_meta(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The columns as JSON, for the key "columns": all that reading and validating need."""
    described = []
    for column in columns:
        entry: dict[str, Any] = {"name": column.name, "type": column.type}
        if column.required:
            entry["required"] = True
        if column.lower is not None:
            entry["lower"] = column.lower
        if column.upper is not None:
            entry["upper"] = column.upper
        described.append(entry)
    return described


def columns_from_meta(meta: Mapping[str, Any]) -> tuple[Column, ...]:
    """The columns that `columns_to_meta` described, without families and descriptions.

    Args:
        meta: Run metadata with the key "columns".

    Raises:
        KeyError: A key is missing.
        TypeError: An entry has a key that no column has.
    """
    return tuple(Column(**{"family": "", "description": "", **entry}) for entry in meta["columns"])

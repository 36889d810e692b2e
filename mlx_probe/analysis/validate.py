"""A finished run checked again: its files, its table, and a few tensors recomputed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.compare.checks import validate_comparison
from mlx_probe.analysis.compare.config import KIND
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.mixture.checks import validate_mixture
from mlx_probe.analysis.mixture.signal_checks import validate_signals
from mlx_probe.analysis.opening import described_files, open_again
from mlx_probe.analysis.sample import parse_sample
from mlx_probe.analysis.sampling import unsampled
from mlx_probe.analysis.selection import select_weights
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.analysis.spotcheck import spot_check
from mlx_probe.analysis.table_checks import no_failures, validate_table
from mlx_probe.analysis.training.validate import validate_training
from mlx_probe.core.errors import ResultError
from mlx_probe.runs.check import Check
from mlx_probe.runs.contents import check_folder
from mlx_probe.runs.load import locate_run, read_table
from mlx_probe.runs.meta import check_kind, read_meta
from mlx_probe.runs.mixture.folder import KIND as MIXTURE
from mlx_probe.runs.mixture.signals import KIND as SIGNALS
from mlx_probe.runs.outputs import verify_hashes
from mlx_probe.runs.training.folder import is_training

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.checkpoint import Weight

__all__ = ["validate", "validate_run"]


def validate(run: str | os.PathLike[str], recompute: bool = True) -> list[Check]:
    """Check a finished run of `analyze`, `compare`, `train`, `moe stats` or `moe signals`.

    Example::

        assert all(check.passed for check in mlx_probe.validate("data/outputs/model"))

    Args:
        run: Run folder, a model's folder for its latest run, run_meta.json, or one of the tables;
            or what `analyze` or `compare` returned.
        recompute: Whether to recompute five tensors from the model's files; nothing is recomputed
            of a comparison, of a mixture's statistics or signals, and of a training run, whose
            snapshots are runs of their own.

    Returns:
        One check for each promise: name, ``passed``, and ``detail`` with the first bad rows.

    Raises:
        ResultError: There is no finished run, it cannot be read, or the model it was made from
            is gone or has changed.
    """
    path = Path(run)
    if is_training(path):
        return validate_training(path)
    meta_path = locate_run(path)
    meta = read_meta(meta_path)
    kind = meta.get("kind")
    if kind == KIND:
        return validate_comparison(path)
    if kind == MIXTURE:
        return validate_mixture(path)
    if kind == SIGNALS:
        return validate_signals(path)
    check_kind(meta_path, meta)
    return validate_run(path, recompute)


def validate_run(path: str | os.PathLike[str], recompute: bool = True) -> list[Check]:
    """Check a finished run: its files, its table, and a few tensors recomputed.

    Args:
        path: Run folder, a model's folder or ``latest`` for its latest run, run_meta.json, or one
            of the tables.
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
        files = described_files(meta["model"]) if recompute else None
    except (AttributeError, KeyError, TypeError) as error:
        raise ResultError(
            f"{meta_path} lacks what this version of mlx-probe needs: {error!r}",
            "Analyze the model again",
        ) from error
    checks = [*verify_hashes(meta_path.parent, meta), check_folder(meta_path, meta, tuple(SIDES))]
    checks += validate_table(table, columns, expected_rows)
    checks.append(no_failures(table))
    if files is not None:
        remedy = "Bring its files back, or use --no-recompute to check the table alone"
        with open_again(files, remedy) as checkpoint:
            weights = select_weights(checkpoint.weights(), config.include, config.exclude)
            if [w.name for w in weights] != table["param_name"].to_pylist():
                raise ResultError(
                    f"{checkpoint.files.path} no longer holds the tensors of this run",
                    "Analyze it again, or use --no-recompute to check the table alone",
                )
            if config.sample:
                checks.append(_is_sampled(table, weights, config))
            checks += spot_check(weights, table, config)
    return checks


def _is_sampled(table: pa.Table, weights: Sequence[Weight], config: AnalyzeConfig) -> Check:
    """Whether the rows without numbers are those that the sample leaves out."""
    left_out = unsampled(weights, parse_sample(config.sample), config.seed)
    statuses = table["status"].to_pylist()
    wrong = [
        weight.label
        for i, (weight, status) in enumerate(zip(weights, statuses, strict=True))
        if (status == "unsampled") != (i in left_out)
    ]
    if wrong:
        detail = f"{len(wrong)} rows are not as {config.sample} has them, the first: {wrong[0]}"
        return Check("sample", False, detail)
    measured = len(weights) - len(left_out)
    return Check("sample", True, f"{measured} of {len(weights)} rows measured")


def _config_from_meta(meta: Mapping[str, Any]) -> AnalyzeConfig:
    entries: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in meta["configuration"].items()
    }
    return AnalyzeConfig(**entries)

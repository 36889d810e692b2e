"""What has to hold of a comparison: of its table, and of its files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.compare.columns import COLUMNS, STATUSES
from mlx_probe.analysis.table_checks import validate_table
from mlx_probe.runs.check import Check
from mlx_probe.runs.contents import check_folder
from mlx_probe.runs.load import locate_run, read_table
from mlx_probe.runs.outputs import verify_hashes

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.core.records import Column

__all__ = ["check_comparison", "validate_comparison"]

# Checks of `validate_table` that are about one model's tensors in file order.
_OF_ONE_MODEL = ("unique rows", "status", "file order")


def validate_comparison(path: str | os.PathLike[str]) -> list[Check]:
    """Check a finished comparison: its files and its table; nothing is recomputed.

    Args:
        path: Run folder, metadata file, or one of its tables.

    Raises:
        ResultError: There is no finished run, or it cannot be read.
    """
    table, columns, meta = read_table(path)
    meta_path = locate_run(Path(path))
    checks = [*verify_hashes(meta_path.parent, meta), check_folder(meta_path, meta)]
    return checks + check_comparison(table, sum(meta["rows_by_status"].values()), columns)


def check_comparison(
    table: pa.Table, expected_rows: int, columns: Sequence[Column] = COLUMNS
) -> list[Check]:
    """Check a comparison's table: what holds of any table, and what holds of a comparison.

    Args:
        table: The table.
        expected_rows: How many rows it should have.
        columns: The columns that it should have.
    """
    checks = validate_table(table, columns, expected_rows)
    rows = table.to_pylist()
    kept = [check for check in checks if check.name not in _OF_ONE_MODEL]
    return [*kept, _named(rows), _statuses(rows), _unchanged(rows)]


def _named(rows: Sequence[Mapping[str, Any]]) -> Check:
    bare = [i for i, row in enumerate(rows) if not row["param_name"] and not row["other_name"]]
    return Check("names", not bare, f"rows {bare[:3]} have none" if bare else "ok")


def _statuses(rows: Sequence[Mapping[str, Any]]) -> Check:
    wrong = [
        i
        for i, row in enumerate(rows)
        if row["status"] not in STATUSES
        or (row["status"] not in ("ok", "identical")) != bool(row["status_reason"])
    ]
    return Check("status", not wrong, f"wrong or without reason: {wrong[:3]}" if wrong else "ok")


def _unchanged(rows: Sequence[Mapping[str, Any]]) -> Check:
    """Rows that say "identical" have no change."""
    wrong = [
        i
        for i, row in enumerate(rows)
        if row["status"] == "identical" and (row["relative_change"], row["cosine"]) != (0.0, 1.0)
    ]
    return Check("identical", not wrong, f"changed all the same: {wrong[:3]}" if wrong else "ok")

"""What has to hold of a mixture's statistics: of their tables, and of their files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.analysis.table_checks import check_declared
from mlx_probe.core.errors import ResultError
from mlx_probe.runs.check import Check
from mlx_probe.runs.contents import check_folder
from mlx_probe.runs.load import locate_run, read_table
from mlx_probe.runs.load_side import read_side_table
from mlx_probe.runs.mixture.folder import LAYERS
from mlx_probe.runs.outputs import verify_hashes

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.core.records import Column

__all__ = ["check_mixture", "validate_mixture"]


def check_mixture(
    experts: pa.Table, layers: pa.Table, columns: Sequence[Column], expected_rows: int
) -> list[Check]:
    """Check the table of experts, and that of layers against it.

    Args:
        experts: The table of experts.
        layers: The table of layers.
        columns: The columns that the table of experts should have.
        expected_rows: How many experts there are.
    """
    checks = check_declared(experts, columns, expected_rows)
    if not checks[-1].passed:
        return checks
    places = [experts[name].to_pylist() for name in ("stack", "layer_index", "expert_index")]
    twice = len(set(zip(*places, strict=True))) < experts.num_rows
    counted = int(np.sum(layers["experts"].to_numpy()))
    return [
        *checks,
        Check("unique rows", not twice, "an expert has two rows" if twice else "ok"),
        Check(
            "layers",
            counted == experts.num_rows,
            f"{layers.num_rows} layers of {counted} experts, {experts.num_rows} rows",
        ),
    ]


def validate_mixture(path: str | os.PathLike[str]) -> list[Check]:
    """Check a finished run of `moe stats`: its files and its tables; nothing is recomputed.

    Args:
        path: Run folder, metadata file, or one of its tables.

    Raises:
        ResultError: There is no finished run, or it cannot be read.
    """
    table, columns, meta = read_table(path)
    meta_path = locate_run(Path(path))
    layers = read_side_table(meta_path, LAYERS)
    if layers is None:
        raise ResultError(
            f"{meta_path} names no table of layers", "Run `mlx-probe moe stats` again"
        )
    checks = [*verify_hashes(meta_path.parent, meta), check_folder(meta_path, meta, (LAYERS,))]
    return checks + check_mixture(table, layers, columns, sum(meta["rows_by_status"].values()))

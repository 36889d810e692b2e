"""What has to hold of a finished run of `moe signals`: of its tables, its map and its files."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.check import Check
from mlx_probe.runs.contents import check_folder
from mlx_probe.runs.load import locate_run, unreadable_table
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.mixture.maps import read_maps
from mlx_probe.runs.mixture.signals import (
    EXPERTS,
    MAP_TOKENS,
    SPS,
    TOKENS,
    WINDOW_COLUMNS,
    WINDOWS,
)
from mlx_probe.runs.outputs import verify_hashes
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.table.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["validate_signals"]


def validate_signals(path: str | os.PathLike[str]) -> list[Check]:
    """Check a finished run of `moe signals`; nothing is recomputed.

    Args:
        path: Run folder, or its run_meta.json.

    Raises:
        ResultError: There is no finished run, or it cannot be read.
    """
    meta_path = locate_run(Path(path))
    meta, folder = read_meta(meta_path), meta_path.parent
    checks = verify_hashes(folder, meta)
    checks.append(check_folder(meta_path, meta, (WINDOWS, EXPERTS, TOKENS)))
    table_path = folder / f"{WINDOWS}.parquet"
    try:
        table = WRITERS["parquet"].read(table_path, arrow_schema(WINDOW_COLUMNS), None)
    except (OSError, ValueError) as error:
        raise unreadable_table(table_path, error) from error
    try:
        return [
            *checks,
            _check_windows(table, meta),
            _check_map(folder / SPS, meta),
        ]
    except (KeyError, TypeError) as error:
        raise ResultError(
            f"{meta_path} lacks what this version of mlx-probe needs: {error!r}",
            "Run `mlx-probe moe signals` again",
        ) from error


def _check_windows(table: pa.Table, meta: Mapping[str, Any]) -> Check:
    """There is a row for each window, and its numbers are within their ranges."""
    wrong = []
    for column in WINDOW_COLUMNS:
        values = [value for value in table[column.name].to_pylist() if value is not None]
        lacking = column.required and len(values) < table.num_rows
        low = column.lower is not None and any(value < column.lower for value in values)
        high = column.upper is not None and any(value > column.upper for value in values)
        if lacking or low or high or not all(map(math.isfinite, values)):
            wrong.append(column.name)
    fits = table.num_rows == meta["windows"] and not wrong
    rows = f"{table.num_rows} windows of {meta['windows']} are measured"
    return Check("windows", fits, f"out of range: {', '.join(wrong)}" if wrong else rows)


def _check_map(path: Path, meta: Mapping[str, Any]) -> Check:
    """The map has the declared shape, and where it has all tokens their sum."""
    maps, sps = read_maps(path), meta["sps"]
    whole, single = maps["sps"], maps["sps_tokens"]
    wanted = (sps["tokens"], sps["layers"], sps["blocks"])
    fits = single.shape == wanted and whole.shape == wanted[1:]
    if fits and meta["tokens"] <= MAP_TOKENS:
        total = single.sum(0, dtype=np.float64)
        fits = bool(np.allclose(whole, total, rtol=1e-4, atol=1e-3))
    tokens, layers, blocks = sps["tokens"], sps["layers"], sps["blocks"]
    detail = f"{tokens} tokens, {layers} layers of {blocks} blocks"
    return Check("map of blocks", fits, detail if fits else f"the file does not hold {detail}")

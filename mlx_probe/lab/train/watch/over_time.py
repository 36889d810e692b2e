"""spectra_over_time.parquet: the rows of all measured snapshots in one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlx_probe.core.files import replacing
from mlx_probe.lab.train.watch.folder import SnapshotFolder
from mlx_probe.runs.over_steps import table_over_steps
from mlx_probe.runs.table import WRITERS

__all__ = ["OVER_TIME", "write_over_time", "write_steps"]

OVER_TIME = "spectra_over_time.parquet"


def write_over_time(run: Path) -> int:
    """Write the table anew from the measurements that there are.

    A Parquet file cannot grow. Reading all tables takes 3 ms for each snapshot, and the file is
    complete at any moment. It depends on the measurements alone: whether a run was disturbed
    shows in no byte.

    Args:
        run: Folder of the training run.

    Returns:
        Snapshots in the table; without any there is no file.

    Raises:
        ResultError: A measurement cannot be read, or the disk refused.
    """
    folder = SnapshotFolder(run)
    steps = folder.measured()
    if steps:
        write_steps(run / OVER_TIME, {step: folder.analysis(step) for step in steps})
    return len(steps)


def write_steps(path: Path, runs: Mapping[int, Path]) -> None:
    """Write the rows of several runs in one table.

    Args:
        path: The file.
        runs: Their folders by the step, at least one.

    Raises:
        ResultError: One cannot be read, or the disk refused.
    """
    table = table_over_steps(runs)
    with replacing(path) as temporary:
        WRITERS["parquet"].write(table, temporary)

"""spectra_over_time.parquet: the rows of all measured snapshots in one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.files import replacing
from mlx_probe.core.records import Column
from mlx_probe.lab.train.watch.folder import SnapshotFolder
from mlx_probe.runs.load import read_table
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.table.arrays import to_array
from mlx_probe.runs.table.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["OVER_TIME", "write_over_time", "write_steps"]

OVER_TIME = "spectra_over_time.parquet"

_STEP = Column("step", "int64", "run", "Step after which the weights were kept.", required=True)


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
    import pyarrow as pa

    table = pa.concat_tables(_with_step(run, step) for step, run in runs.items())
    with replacing(path) as temporary:
        # In one piece: dictionaries are shared by all snapshots, which makes it small.
        WRITERS["parquet"].write(table.combine_chunks(), temporary)


def _with_step(analysis: Path, step: int) -> pa.Table:
    """The rows of a measurement, the step first."""
    import pyarrow as pa

    table, columns, _ = read_table(analysis)
    number = to_array([step] * len(table), pa.int64())
    schema = arrow_schema((_STEP, *columns))
    return pa.Table.from_arrays([pa.chunked_array([number]), *table.columns], schema=schema)

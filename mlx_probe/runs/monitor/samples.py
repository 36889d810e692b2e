"""Samples on disk: lines while a job runs, a Parquet file when it is finished."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import LineWriter, replacing, whole_lines, write_error
from mlx_probe.core.records import Row
from mlx_probe.runs.folder import DEFAULT_STEM, side_name, stem_of
from mlx_probe.runs.latest import run_folder
from mlx_probe.runs.load import to_frame
from mlx_probe.runs.monitor.columns import SAMPLE_COLUMNS
from mlx_probe.runs.monitor.jobs import JobRecord
from mlx_probe.runs.monitor.sample import Sample
from mlx_probe.runs.table.schema import arrow_schema, rows_to_table
from mlx_probe.runs.table.strict_json import encode

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "MONITOR",
    "Recording",
    "SampleLog",
    "SampleTail",
    "find_recording",
    "lines_name",
    "load_samples",
    "read_recording",
    "write_recording",
]

# Name of the finished file, without stem and suffix.
MONITOR = "monitor"

# Not a journal: these lines are no rows.
_LINES = "samples.jsonl"

_JOBS = b"mlx_probe_jobs"

# Samples in memory at a time while a file is written: a day has 86,400.
_GROUP = 10_000


def lines_name(stem: str, fingerprint: str) -> str:
    """Name of the file of lines of an unfinished run with this fingerprint (hex digits)."""
    return side_name(stem, f"{MONITOR}.{fingerprint[:12]}", _LINES)


@dataclass(frozen=True)
class Recording:
    """The kept samples of a job.

    Attributes:
        path: The file.
        jobs: The processes that worked on it, in order.
        samples: Their samples, in order.
    """

    path: Path
    jobs: tuple[JobRecord, ...]
    samples: tuple[Sample, ...]


class SampleLog:
    """An append-only file: a line for each process that worked on a run, and for each sample.

    Attributes:
        path: The file.
        session: Number of this process, counted from 0.
    """

    def __init__(self, path: Path, resume: bool = True) -> None:
        """Open or create it; an incomplete last line is cut off.

        Args:
            path: The file; its folder exists.
            resume: Whether to append to what an earlier process wrote.

        Raises:
            OSError: The disk refuses.
        """
        self.path = path
        file = path.open("ab" if resume else "wb", buffering=0)
        try:
            self.session, end = 0, 0
            with path.open("rb") as written:
                for line in whole_lines(written):
                    end += len(line)
                    self.session += isinstance(_parse(line), JobRecord)
            self._lines = LineWriter(file, end)
        except BaseException:
            file.close()
            raise

    def begin(self, job: JobRecord) -> None:
        """Write the line of this process.

        Raises:
            OSError: The disk refuses.
        """
        self._lines.append(encode({"job": job.describe()}))

    def append(self, sample: Sample) -> None:
        """Write a sample.

        Raises:
            OSError: The disk refuses; the lines before are whole.
        """
        self._lines.append(encode(sample.values()))

    def close(self) -> None:
        """Close the file, which stays."""
        self._lines.close()


class SampleTail:
    """Reads the lines that are appended to a file while a job writes it.

    Args:
        path: The file; it may not exist yet, or no longer.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._place = path, 0

    def read(self) -> list[JobRecord | Sample]:
        """The records since the last call; damaged lines are left out."""
        try:
            with self._path.open("rb") as file:
                # The file was started again.
                if file.seek(0, os.SEEK_END) < self._place:
                    self._place = 0
                file.seek(self._place)
                lines = list(whole_lines(file))
        except OSError:
            return []
        self._place += sum(map(len, lines))
        parsed = map(_parse, lines)
        return [each for each in parsed if each is not None]


def find_recording(run: Path) -> Path | None:
    """The file with the samples of a run; the latest if there are several.

    Args:
        run: A run folder, a run_meta.json, a table, or a file of samples.
    """
    if run.name.endswith(_LINES) or run.name.endswith(f"{MONITOR}.parquet"):
        return run if run.is_file() else None
    run = run_folder(run)
    if run.is_dir():
        files = [*run.glob(f"*{MONITOR}.*{_LINES}"), *run.glob(f"*{MONITOR}.parquet")]
    else:
        stem = stem_of(run) if run.suffix == ".json" else run.stem
        lead = "" if stem == DEFAULT_STEM else f"{stem}."
        files = [
            file
            for file in run.parent.glob(f"*{MONITOR}.*")
            if file.name.startswith(f"{lead}{MONITOR}.")
            and file.name.endswith((_LINES, side_name(stem, MONITOR, "parquet")))
        ]
    return max(files, key=lambda file: file.stat().st_mtime_ns, default=None)


def read_recording(path: Path) -> Recording:
    """Read a file of samples, of either kind.

    Raises:
        ResultError: It cannot be read.
    """
    if path.suffix == ".parquet":
        return _read_parquet(path)
    try:
        records = [each for each in _lines(path) if each is not None]
    except OSError as error:
        raise ResultError(f"cannot read {path}: {error.strerror}", "Check the path") from error
    return _recording(path, records)


def load_samples(run: str | os.PathLike[str]) -> pd.DataFrame | None:
    """The samples of a run as a pandas DataFrame, one row each, with `SAMPLE_COLUMNS`.

    Args:
        run: A run folder, its run_meta.json, one of its tables, or a file of samples; the run
            still run, or have been killed.

    Returns:
        Types as of `load_run`; None if the run has no samples.

    Raises:
        ResultError: They cannot be read.
    """
    path = find_recording(Path(run))
    if path is None:
        return None
    samples = read_recording(path).samples
    rows = [Row(index, sample.values()) for index, sample in enumerate(samples)]
    return to_frame(rows_to_table(rows, SAMPLE_COLUMNS))


def write_recording(lines: Path, path: Path) -> int:
    """Make the Parquet file from a file of lines.

    Args:
        lines: The file of a `SampleLog`; it stays.
        path: The Parquet file.

    Returns:
        The number of samples.

    Raises:
        ResultError: The disk refused.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        jobs = [job.describe() for job in _lines(lines) if isinstance(job, JobRecord)]
        fields = [
            pa.field(column.name, field.type, metadata=_description(column))
            for column, field in zip(SAMPLE_COLUMNS, arrow_schema(SAMPLE_COLUMNS), strict=True)
        ]
        schema = pa.schema(fields, metadata={_JOBS: json.dumps(jobs).encode()})
        count, samples = 0, (each for each in _lines(lines) if isinstance(each, Sample))
        with (
            replacing(path) as temporary,
            parquet.ParquetWriter(temporary, schema, compression="zstd") as writer,
        ):
            while group := list(islice(samples, _GROUP)):
                rows = [Row(count + i, sample.values()) for i, sample in enumerate(group)]
                table = rows_to_table(rows, SAMPLE_COLUMNS)
                writer.write_table(pa.Table.from_arrays(table.columns, schema=schema))
                count += len(group)
    except OSError as error:
        raise write_error(path, error) from error
    return count


def _description(column: Any) -> dict[bytes, bytes]:
    unit = f" ({column.unit})" if column.unit else ""
    return {b"description": f"{column.description}{unit}".encode()}


def _read_parquet(path: Path) -> Recording:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            table: pa.Table = file.read(use_threads=False)
        samples = [Sample.from_values(values) for values in table.to_pylist()]
        jobs = json.loads((table.schema.metadata or {}).get(_JOBS, b"[]"))
        records: list[JobRecord | Sample] = [*map(JobRecord.from_json, jobs), *samples]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise ResultError(
            f"cannot read {path}: {error}", "Name a run whose samples are there"
        ) from error
    return _recording(path, records)


def _recording(path: Path, records: Iterable[JobRecord | Sample]) -> Recording:
    records = list(records)
    return Recording(
        path,
        tuple(each for each in records if isinstance(each, JobRecord)),
        tuple(each for each in records if isinstance(each, Sample)),
    )


def _lines(path: Path) -> Iterator[JobRecord | Sample | None]:
    with path.open("rb") as file:
        yield from map(_parse, whole_lines(file))


def _parse(line: bytes) -> JobRecord | Sample | None:
    """The record of a line; None for a damaged line."""
    try:
        record = json.loads(line)
        if "job" in record:
            return JobRecord.from_json(record["job"])
        return Sample.from_values(record)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError):
        return None

"""The results of two runs of one kind: numbers, columns, curves and files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import sha256_file
from mlx_probe.library.reproduce.records import Compared
from mlx_probe.runs.experiments import Experiment, read_curves
from mlx_probe.runs.folder import stem_of
from mlx_probe.runs.load import read_table
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.training.metrics import TIMES

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["compare_results"]

# What a run took, and what names it: no two runs have the same.
_TIMED = re.compile(r"(.*_)?(seconds|created_at|peak_memory|tokens_per_second|duration|gbps)(_.*)?")
# Documents and tables with such numbers in them; what else they hold is compared as numbers.
_NOT_FILES = re.compile(
    r"(.+\.)?(run_meta|plan|results?|evaluation)\.json|metrics\.(jsonl|parquet)|tensorboard/.+"
    r"|.*monitor\.parquet|.+\.log|predictions\.jsonl|spectra_over_time\.parquet"
    r"|differences_over_time\.parquet|snapshots/.+/(analysis|difference)/.+"
)


def compare_results(first: Experiment, second: Experiment) -> tuple[Compared, ...]:
    """Compare two runs of one kind, part by part; what differs comes first.

    Args:
        first: The run.
        second: The same made again.

    Raises:
        ResultError: They are of different kinds, one is not finished, or a table is damaged.
    """
    if first.kind != second.kind:
        raise ResultError(
            f"{first.marker} is of {first.kind}, {second.marker} of {second.kind}",
            "Compare runs of one kind",
        )
    for run in (first, second):
        if run.state in ("running", "interrupted"):
            raise ResultError(
                f"{run.folder} is {run.state}: its results are not whole",
                "Run the same command again to finish it",
            )
    found = [
        *_metrics(first.metrics, second.metrics),
        *_tables(first, second),
        *_curves(first.folder, second.folder),
        *_files(first, second),
    ]
    return tuple(sorted(found, key=lambda each: each.equal))


def _metrics(before: Mapping[str, float], now: Mapping[str, float]) -> Iterator[Compared]:
    for name in sorted({*before, *now}):
        if _TIMED.fullmatch(name):
            continue
        if name not in before or name not in now:
            side = "the new run" if name in before else "the run"
            yield Compared("metric", name, False, reason=f"{side} has no such number")
        else:
            yield _numbers("metric", name, before[name], now[name])


def _numbers(what: str, name: str, before: float, now: float) -> Compared:
    if before == now:
        return Compared(what, name, True, 0.0, 0.0)
    difference = abs(before - now)
    return Compared(what, name, False, difference, difference / max(abs(before), abs(now)))


def _tables(first: Experiment, second: Experiment) -> Iterator[Compared]:
    """The main tables, column by column: text and whole numbers too."""
    if not _has_table(read_meta(first.marker)):
        return
    before, now = (read_table(run.marker)[0] for run in (first, second))
    if before.num_rows != now.num_rows:
        reason = f"{before.num_rows:,} rows before, {now.num_rows:,} now"
        yield Compared("column", "rows", False, reason=reason)
        return
    for name in dict.fromkeys([*before.column_names, *now.column_names]):
        if _TIMED.fullmatch(name):
            continue
        if name not in before.column_names or name not in now.column_names:
            side = "the new run" if name in before.column_names else "the run"
            yield Compared("column", name, False, reason=f"{side} has no such column")
        else:
            yield _column(name, before[name], now[name])


def _has_table(meta: Mapping[str, Any]) -> bool:
    return isinstance(meta.get("columns"), list) and bool(_main_tables(meta, meta.get("outputs")))


def _main_tables(meta: Mapping[str, Any], outputs: object) -> list[str]:
    listed = outputs if isinstance(outputs, Mapping) else {}
    kind = meta.get("kind")
    # Of a training the columns are those of its steps, which are compared as curves.
    if kind in ("train", "tune", "moe-train", "moe-signals"):
        return []
    return [name for name in listed if Path(name).suffix[1:] in WRITERS and "/" not in name]


def _column(name: str, before: pa.ChunkedArray, now: pa.ChunkedArray) -> Compared:
    import pyarrow as pa

    if pa.types.is_floating(before.type) and pa.types.is_floating(now.type):
        return _floats("column", name, before.to_pandas().to_numpy(), now.to_pandas().to_numpy())
    left, right = before.to_pylist(), now.to_pylist()
    differ = [row for row, (a, b) in enumerate(zip(left, right, strict=True)) if a != b]
    if not differ:
        return Compared("column", name, True)
    row = differ[0]
    reason = f"{len(differ):,} rows differ, the first {row}: {left[row]!r}, now {right[row]!r}"
    return Compared("column", name, False, reason=reason[:200])


def _floats(what: str, name: str, before: Any, now: Any) -> Compared:
    """Equal to the bit; NaN is equal to NaN, and -0.0 is not 0.0."""
    import numpy as np

    a, b = np.asarray(before, np.float64), np.asarray(now, np.float64)
    missing = np.isnan(a), np.isnan(b)
    if (missing[0] != missing[1]).any():
        count = int((missing[0] != missing[1]).sum())
        return Compared(what, name, False, reason=f"{count:,} numbers are there in one alone")
    a, b = a[~missing[0]], b[~missing[0]]
    if a.tobytes() == b.tobytes():
        return Compared(what, name, True, 0.0, 0.0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        difference = np.where(a == b, 0.0, np.abs(a - b))
        relative = np.where(difference == 0, 0.0, difference / np.maximum(np.abs(a), np.abs(b)))
    if not np.isfinite(difference).all() or not np.isfinite(relative).all():
        return Compared(what, name, False, reason="infinite in one alone")
    return Compared(what, name, False, float(difference.max()), float(relative.max()))


def _curves(before: Path, now: Path) -> Iterator[Compared]:
    left, right = read_curves(before), read_curves(now)
    if left.empty and right.empty:
        return
    if left["step"].tolist() != right["step"].tolist():
        reason = f"{len(left):,} steps before, {len(right):,} now"
        yield Compared("curve", "step", False, reason=reason)
        return
    for name in dict.fromkeys([*left.columns, *right.columns]):
        if name in TIMES or name == "step":
            continue
        if name not in left or name not in right:
            side = "the new run" if name in left else "the run"
            yield Compared("curve", name, False, reason=f"{side} has no such curve")
        else:
            yield _floats("curve", name, left[name], right[name])


def _files(first: Experiment, second: Experiment) -> Iterator[Compared]:
    """Every other file that the metadata list, by its bytes."""
    listed = [_outputs(run) for run in (first, second)]
    for name in sorted({*listed[0], *listed[1]}):
        if name not in listed[0] or name not in listed[1]:
            side = "the new run" if name in listed[0] else "the run"
            yield Compared("file", name, False, reason=f"{side} has no such file")
            continue
        sums = [
            _sum(run.folder / name, each[name])
            for run, each in zip((first, second), listed, strict=True)
        ]
        if None in sums:
            yield Compared("file", name, False, reason="it is gone, and its hash is not known")
        else:
            reason = "" if sums[0] == sums[1] else "its bytes differ"
            yield Compared("file", name, not reason, reason=reason)


def _outputs(run: Experiment) -> dict[str, Mapping[str, Any]]:
    meta = read_meta(run.marker)
    outputs = meta.get("outputs")
    tables = set(_main_tables(meta, outputs)) if _has_table(meta) else set()
    # All formats of the main table hold what was compared column by column.
    stem = stem_of(run.marker)
    main = {name for name in tables if Path(name).stem == stem} or tables
    return {
        name: each if isinstance(each, Mapping) else {"sha256": each}
        for name, each in (outputs.items() if isinstance(outputs, Mapping) else ())
        if name not in main and not _NOT_FILES.fullmatch(name) and _is_inside(name)
    }


def _is_inside(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts and "\0" not in name


def _sum(path: Path, described: Mapping[str, Any]) -> str | None:
    recorded = described.get("sha256")
    if isinstance(recorded, str):
        return recorded
    try:
        return sha256_file(path)
    except OSError:
        return None

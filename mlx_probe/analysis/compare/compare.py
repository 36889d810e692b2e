"""Two checkpoints, or a base and its adapter, compared into a table."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil
from threadpoolctl import threadpool_limits

from mlx_probe.analysis.budget import DEFAULT_MEMORY_SHARE, RESERVE
from mlx_probe.analysis.compare import COLUMNS, CompareConfig, Pair, measure_pair, pair_checkpoints
from mlx_probe.analysis.compare.columns import STATUSES
from mlx_probe.analysis.compare.config import refuse_nonsense
from mlx_probe.analysis.compare.scope import Scope, scope_of
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.analysis.selection import select_weights
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.table_checks import validate_table
from mlx_probe.checkpoint import Checkpoint, Weight
from mlx_probe.compute import calibration
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.core.errors import CheckpointError, ConfigError, Interrupted
from mlx_probe.core.machine import usable_cores
from mlx_probe.core.records import Row
from mlx_probe.core.units import format_size
from mlx_probe.core.version import __version__
from mlx_probe.runs.check import Check
from mlx_probe.runs.environment import package_versions
from mlx_probe.runs.folder import RunPaths, prepare_folder, resolve_output
from mlx_probe.runs.journal import Journal
from mlx_probe.runs.load import locate_run, read_table
from mlx_probe.runs.meta import columns_to_meta, write_meta
from mlx_probe.runs.monitor import Gate, UsageMeter, process_memory
from mlx_probe.runs.monitor.sample import JobState
from mlx_probe.runs.monitor.samples import MONITOR, lines_name
from mlx_probe.runs.monitor.watch import JobMonitor, WatchConfig
from mlx_probe.runs.outputs import finalize, verify_hashes
from mlx_probe.runs.run import Run
from mlx_probe.runs.table.schema import rows_to_table
from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["KIND", "STEM", "compare", "validate_comparison"]

# The metadata's key "kind", and the stem of the tables where the user names none.
KIND = STEM = "compare"

# Checks of `validate_table` that are about one model's tensors in file order.
_OF_ONE_MODEL = ("unique rows", "status", "file order")


@dataclass(frozen=True)
class _Plan:
    """A comparison that is ready to start.

    Attributes:
        pairs: What is compared; a pair's position is its row's index.
        scopes: How much of each is computed.
        config: The configuration with every automatic choice made.
        budget: Bytes that all pairs in flight may take together.
        two_stage_from: As for `singular_values`.
    """

    pairs: tuple[Pair, ...]
    scopes: tuple[Scope, ...]
    config: CompareConfig
    budget: int
    two_stage_from: int | None


def compare(
    a: str | Path,
    b: str | Path,
    *,
    out: str | Path | None = None,
    formats: Sequence[str] = (),
    revision_a: str | None = None,
    revision_b: str | None = None,
    config: CompareConfig | None = None,
    watch: WatchConfig | None = None,
    resume: bool = True,
    on_row: Callable[[int, int, str], None] | None = None,
    on_alert: Callable[[str, bool], None] | None = None,
    fetching: DownloadProgress | None = None,
) -> Run:
    """Compare two models, or a base and its adapter, and write one row for each matrix.

    Both are read side by side in blocks, matrix by matrix; nothing is held whole. Rows do not
    depend on the number of workers. They are on disk as soon as they are computed: an
    interrupted comparison goes on where it stopped.

    Args:
        a: The first model, the base; see `open_checkpoint`.
        b: The second, the tuned or quantized one; or an adapter of ``a``.
        out: Folder, or a file with a known suffix; None for ``data/outputs/<a>--vs--<b>/``.
        formats: Keys of `WRITERS`; empty for the suffix of ``out``, or else CSV.
        revision_a: Commit, branch, tag or version of A.
        revision_b: The same of B.
        config: What to compute and how.
        watch: Rules on what the machine has left, and who may look on; changes no result.
        resume: Whether to use the rows of an interrupted comparison.
        on_row: Told after each row how many are done, of how many, and its tensor's label.
        on_alert: Told of rules that are broken or kept again, and whether that is a warning;
            None for Python's logging.
        fetching: Told how far a download of a model is; see `open_checkpoint`.

    Returns:
        The run, with ``meta["kind"] == "compare"``. Look at its ``failures``.

    Raises:
        Stopped: A rule that stops was broken; finished rows stay on disk.
        ProbeError: One of its kinds; finished rows stay on disk.
    """
    began = time.perf_counter()
    config, watch = config or CompareConfig(), watch or WatchConfig()
    # A wrong rule is refused before anything is fetched.
    _ = watch.rules
    refuse_nonsense(config)
    with (
        open_checkpoint(a, revision_a, fetching=fetching) as first,
        open_checkpoint(b, revision_b, fetching=fetching) as second,
    ):
        opened = time.perf_counter()
        paths = _paths(out, formats, first, second)
        plan = _plan(pair_checkpoints(first, second), config)
        prepare_folder(paths)
        fingerprint = _fingerprint(plan, first, second)
        path = paths.journal(fingerprint)
        meter, job = UsageMeter(STAGES), _JobProgress(plan.pairs, on_row)
        watching = JobMonitor(
            KIND,
            f"{first.files.model_id} and {second.files.model_id}",
            job.state,
            config=watch,
            gate=meter.gate,
            folder=paths.folder,
            lines=paths.folder / lines_name(paths.stem, fingerprint),
            resume=resume,
            tell=on_alert,
        )
        with (
            Journal(path, fingerprint, COLUMNS, resume) as journal,
            meter,
            _resuming(watching, job, journal),
        ):
            try:
                rows = _rows(plan, journal, job, meter.gate)
            except KeyboardInterrupt:
                raise Interrupted(
                    f"interrupted; finished rows are saved in {path}",
                    "Run the same command again to go on from there",
                ) from None
            if _fingerprint(plan, first, second) != fingerprint:
                raise CheckpointError(
                    "a model changed while it was compared",
                    "Leave its files alone and run the same command again",
                )
            measured = time.perf_counter()
            table = rows_to_table(rows, COLUMNS)
            found = table.to_pylist()
            checks = _checks(validate_table(table, COLUMNS, len(plan.pairs)), found)
            outputs = finalize(paths, table)
            usage = meter.usage()
            meta = {
                "kind": KIND,
                "models": {"a": _describe(first), "b": _describe(second)},
                "code_version": __version__,
                "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "command": sys.argv,
                "configuration": asdict(plan.config),
                "backend": "numpy",
                "device": "cpu",
                "environment": package_versions(),
                "peak_process_memory": usage.peak_memory,
                "rows_by_status": dict(Counter(row["status"] for row in found)),
                "rows_by_match": dict(Counter(str(row["matched_by"]) for row in found)),
                "columns": columns_to_meta(COLUMNS),
                "seconds": {
                    "open": opened - began,
                    "measure": measured - opened,
                    "write": time.perf_counter() - measured,
                    "compute_in_workers": sum(row["compute_seconds"] or 0.0 for row in found),
                },
                "resumed_rows": len(journal.rows),
                # Not among the outputs: it is of the moment, and nobody's result.
                MONITOR: watching.keep(paths.side(MONITOR, "parquet")),
                "validation": {
                    "passed": all(check.passed for check in checks),
                    "checks": [asdict(check) for check in checks],
                },
                "outputs": outputs,
            }
            write_meta(paths.meta, meta)
            journal.discard()
    return Run(paths.meta, meta)


def _paths(
    out: str | Path | None, formats: Sequence[str], first: Checkpoint, second: Checkpoint
) -> RunPaths:
    """Where the results go; in a folder under this command's name, beside an analysis."""
    title = f"{first.files.model_id}--vs--{second.files.model_id}"
    folder = None if out is None else Path(out)
    paths = resolve_output(folder, formats, title)
    # A file that the user named keeps its own stem.
    return replace(paths, stem=STEM) if folder in (None, paths.folder) else paths


def _plan(pairs: Sequence[Pair], config: CompareConfig) -> _Plan:
    """Decide what is compared, and how much of it at once.

    Raises:
        ConfigError: No tensor is selected, or the memory limit cannot hold two slabs.
    """
    chosen = set(map(id, select_weights([p.weight for p in pairs], config.include, config.exclude)))
    selected = tuple(pair for pair in pairs if id(pair.weight) in chosen)
    taken = process_memory() + RESERVE
    free = int(DEFAULT_MEMORY_SHARE * psutil.virtual_memory().available)
    limit = config.memory_limit or taken + free
    budget = limit - taken
    nothing = Scope(False, False, None, 0)
    scopes = tuple(nothing if pair.status else scope_of(pair, config, budget) for pair in selected)
    largest = max(range(len(selected)), key=lambda i: scopes[i].nbytes)
    if scopes[largest].nbytes > budget:
        needed = taken + scopes[largest].nbytes
        raise ConfigError(
            f"a memory limit of {format_size(limit)} cannot hold "
            f"{selected[largest].weight.label!r}: reading it takes "
            f"{format_size(scopes[largest].nbytes)} beside the {format_size(taken)} of the process "
            "itself",
            f"Set --memory-limit to at least {format_size(round(1.05 * needed))}, or leave the "
            "tensor out with --exclude",
        )
    shorts = [
        pair.weight.short for pair, scope in zip(selected, scopes, strict=True) if scope.spectrum
    ]
    large = max(shorts, default=0) >= calibration.SMALLEST_TWO_STAGE
    return _Plan(
        pairs=selected,
        scopes=scopes,
        config=replace(config, workers=config.workers or usable_cores(), memory_limit=limit),
        budget=budget,
        two_stage_from=calibration.two_stage_from() if large else None,
    )


class _JobProgress:
    """How far a comparison is, in bytes of both sides as stored."""

    def __init__(
        self, pairs: Sequence[Pair], on_row: Callable[[int, int, str], None] | None
    ) -> None:
        self._pairs, self._on_row = pairs, on_row
        self._sizes = [
            sum(side.nbytes for side in (pair.a, pair.b) if side is not None) for pair in pairs
        ]
        self._total, self._lock = sum(self._sizes), threading.Lock()
        self._found, self._read, self._what = 0, 0, ""

    def state(self) -> JobState:
        with self._lock:
            return JobState(self._found + self._read, self._total, self._what, self._read)

    def resume(self, indices: Iterable[int]) -> None:
        self._found = sum(self._sizes[index] for index in indices)

    def start(self, index: int) -> None:
        self._what = self._pairs[index].weight.label

    def finish(self, index: int, rows: int) -> None:
        with self._lock:
            self._read += self._sizes[index]
        if self._on_row is not None:
            self._on_row(rows, len(self._pairs), self._pairs[index].weight.label)


def _resuming(watching: JobMonitor, job: _JobProgress, journal: Journal) -> JobMonitor:
    """The watch; its first sample must not take an earlier run's work for this one's."""
    job.resume(journal.rows)
    return watching


def _rows(plan: _Plan, journal: Journal, job: _JobProgress, gate: Gate) -> list[Row]:
    """One row for each pair: those that the journal had, and the others as they are done."""

    def work(index: int) -> Row:
        gate.wait()
        job.start(index)
        pair, scope = plan.pairs[index], plan.scopes[index]
        measured = measure_pair(pair, plan.config, scope, plan.two_stage_from, gate)
        return Row(index, {**_identity(pair), **measured})

    # The longest first, so that no worker begins one when the others have nothing left to do.
    order = sorted(range(len(plan.pairs)), key=lambda i: (-_effort(plan.pairs[i]), i))
    rows = list(journal.rows.values())
    tasks = [(i, plan.scopes[i].nbytes) for i in order if i not in journal.rows]
    with threadpool_limits(1, user_api="blas"):
        for row in run_within_budget(work, tasks, plan.config.workers, plan.budget):
            journal.append(row)
            rows.append(row)
            job.finish(row.index, len(rows))
    return rows


def _effort(pair: Pair) -> float:
    weight = pair.weight
    if pair.status is not None:
        return 0.0
    short = weight.short if weight.has_spectrum else 0
    return float(weight.numel) * (100 + short)


def _identity(pair: Pair) -> dict[str, Any]:
    """The columns that the headers tell."""
    a, b, weight = pair.a, pair.b, pair.weight
    # Of an adapter the factor stands for B in memory, and not in the table.
    other = None if pair.factors is not None else b

    def told(side: Weight | None) -> tuple[Any, ...]:
        if side is None:
            return None, None, None
        return side.shape, side.dtype, side.parameter.packing

    shape, dtype, packing = told(a)
    other_shape, other_dtype, other_packing = told(other)
    return {
        "param_name": a.name if a else None,
        "other_name": b.name if b else None,
        "layer_index": weight.role.layer_index,
        "block_type": weight.role.block_type,
        "component": weight.role.component,
        "expert_index": weight.expert_index,
        "part": weight.part.name if weight.part else None,
        "shape": shape,
        "other_shape": other_shape,
        "rows": weight.rows,
        "cols": weight.cols,
        "numel": weight.numel,
        "dtype": dtype,
        "other_dtype": other_dtype,
        "packing": packing,
        "other_packing": other_packing,
        "matched_by": pair.matched_by,
    }


def _checks(checks: Sequence[Check], rows: Sequence[Mapping[str, Any]]) -> list[Check]:
    """What holds of any table, and what holds of a comparison."""
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
    """A change that is not 0 has a status that says so, and the other way round."""
    wrong = [
        i
        for i, row in enumerate(rows)
        if row["status"] == "identical" and (row["relative_change"], row["cosine"]) != (0.0, 1.0)
    ]
    return Check("identical", not wrong, f"changed all the same: {wrong[:3]}" if wrong else "ok")


def _describe(checkpoint: Checkpoint) -> dict[str, Any]:
    files, adapter = checkpoint.files, checkpoint.adapter
    return {
        "id": files.model_id,
        "revision": files.revision,
        "path": str(files.path),
        "weights": [str(path) for path in files.weights],
        "framework": checkpoint.framework,
        "architecture": checkpoint.architecture.describe(),
        "adapter": adapter.describe() if adapter else None,
    }


def _fingerprint(plan: _Plan, *checkpoints: Checkpoint) -> str:
    """SHA-256 of everything that decides a row's values; files that are gone have changed."""
    config = asdict(plan.config)
    # How much of each pair fits is in the scopes.
    for name in ("workers", "memory_limit"):
        del config[name]
    stamps = []
    for path in (path for checkpoint in checkpoints for path in checkpoint.files.weights):
        try:
            told = path.stat()
        except OSError:
            stamps.append((str(path), 0, 0))
            continue
        stamps.append((str(path), told.st_size, told.st_mtime_ns))
    identity = {
        "code_version": __version__,
        "config": config,
        "scopes": [asdict(scope) for scope in plan.scopes],
        "two_stage_from": plan.two_stage_from,
        "models": [_describe(checkpoint) for checkpoint in checkpoints],
        "files": stamps,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def validate_comparison(path: str | Path) -> list[Check]:
    """Check a finished comparison: its files and its table; nothing is recomputed.

    Args:
        path: Run folder, metadata file, or one of its tables.

    Raises:
        ResultError: There is no finished run, or it cannot be read.
    """
    table, columns, meta = read_table(path)
    checks = verify_hashes(locate_run(Path(path)).parent, meta)
    expected = sum(meta["rows_by_status"].values())
    return checks + _checks(validate_table(table, columns, expected), table.to_pylist())

"""A run: a model analysed into a folder, resumable, validated, described."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.forecast.forecast import forecast, write_forecast
from mlx_probe.analysis.forecast.rates import known_rates
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.analysis.plan import Plan, make_plan
from mlx_probe.analysis.progress import JobProgress, Progress, Silent
from mlx_probe.analysis.side_tables import SIDES, side_tables
from mlx_probe.analysis.spotcheck import spot_check
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.stream import analyze_rows
from mlx_probe.analysis.table_checks import validate_table
from mlx_probe.analysis.validate import no_failures
from mlx_probe.compute.calibration import load_calibration
from mlx_probe.core.errors import CheckpointError, Interrupted, ProbeError, Stopped
from mlx_probe.core.files import write_error
from mlx_probe.core.records import Row
from mlx_probe.core.version import __version__
from mlx_probe.runs.check import Check
from mlx_probe.runs.cost import binding_limit, stage_costs
from mlx_probe.runs.environment import package_versions
from mlx_probe.runs.folder import RunPaths, prepare_folder, resolve_output
from mlx_probe.runs.journal import Journal
from mlx_probe.runs.meta import columns_to_meta, write_meta
from mlx_probe.runs.monitor import Usage, UsageMeter
from mlx_probe.runs.monitor.samples import MONITOR, lines_name
from mlx_probe.runs.monitor.watch import JobMonitor, WatchConfig
from mlx_probe.runs.outputs import finalize
from mlx_probe.runs.run import Run
from mlx_probe.runs.table.schema import rows_to_table
from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["analyze"]

_log = logging.getLogger(__name__)


def analyze(
    model: str | Path,
    *,
    out: str | Path | None = None,
    formats: Sequence[str] = (),
    revision: str | None = None,
    config: AnalyzeConfig | None = None,
    watch: WatchConfig | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    fetching: DownloadProgress | None = None,
) -> Run:
    """Measure every tensor of a model and write the table.

    Rows are on disk as soon as they are computed. A run that is interrupted goes on where it
    stopped when it is called again with the same model, configuration and folder.

    Args:
        model: See `open_checkpoint`.
        out: Folder, or a file with a known suffix; None for ``data/outputs/<model>/``.
        formats: Keys of `WRITERS`; empty for the suffix of ``out``, or else CSV.
        revision: See `open_checkpoint`.
        config: What to compute and how.
        watch: Rules on what the machine has left, and who may look on; changes no result.
        resume: Whether to use the rows of an interrupted run.
        progress: Told how the work goes.
        fetching: Told how far a download of the model is; see `open_checkpoint`.

    Returns:
        The run. Look at its ``failures``: a run with wrong numbers is written all the same.

    Raises:
        Stopped: A rule that stops was broken; finished rows stay on disk.
        ProbeError: One of its kinds; finished rows stay on disk.
    """
    began = time.perf_counter()
    config, progress = config or AnalyzeConfig(), progress or Silent()
    watch = watch or WatchConfig()
    # A wrong one is refused before anything is fetched.
    _ = watch.rules
    with open_checkpoint(model, revision, fetching=fetching) as checkpoint:
        opened = time.perf_counter()
        paths = resolve_output(
            None if out is None else Path(out), formats, checkpoint.files.model_id
        )
        # Loaded now and not with the table, so that the plan counts the memory that it takes.
        import pyarrow

        plan = make_plan(checkpoint, config)
        prepare_folder(paths)
        fingerprint = plan.fingerprint
        path = paths.journal(fingerprint)
        meter = UsageMeter(STAGES, plan.backend.device_memory)
        job = JobProgress(plan, meter, progress)
        name = lines_name(paths.stem, fingerprint)
        with (
            _log_file(paths.log),
            Journal(path, fingerprint, plan.columns, resume) as journal,
            meter,
            _watch(job, journal, paths.folder / name, watch, resume) as watched,
        ):
            _log.info("%s at %s", checkpoint.files.model_id, checkpoint.files.revision)
            _log.info("%s", plan.backend_reason)
            # Nothing is timed for it: that would be time and memory of the run.
            write_forecast(paths.plan, forecast(plan, paths, known_rates(plan)))
            # pyarrow imports pandas with its first array; the workers need not wait for that.
            threading.Thread(target=pyarrow.array, args=([0.0],), daemon=True).start()
            rows = _measure(plan, journal, meter, job)
            _refuse_changed(plan, fingerprint)
            sides = side_tables(plan, meter)
            job.stage = "validating and writing"
            measured = time.perf_counter()
            table = rows_to_table(rows.values(), plan.columns)
            names = [weight.name for weight in plan.weights]
            checks = validate_table(table, plan.columns, len(plan.weights), names)
            ordered = [rows[i].values for i in range(len(plan.weights))]
            checks += [no_failures(ordered), *spot_check(plan.weights, ordered, plan.config)]
            checked = time.perf_counter()
            outputs = finalize(paths, table, sides, journal.spectra())
            # Before the calibration, whose time and memory are not the run's.
            usage, paused = meter.usage(), meter.gate.paused_seconds
            seconds = {
                "open": opened - began,
                "measure": measured - opened,
                "validate": checked - measured,
                "write": time.perf_counter() - checked,
            }
            meta = {
                **_describe(plan, ordered, usage),
                "fingerprint": fingerprint,
                "resumed_rows": len(journal.rows),
                "seconds": {
                    **seconds,
                    "read_in_workers": _total(ordered, "read_seconds"),
                    "compute_in_workers": _total(ordered, "compute_seconds"),
                },
                **_cost(plan, usage, {**seconds, "measure": seconds["measure"] - paused}),
                # Not among the outputs: it is of the moment, and nobody's result.
                MONITOR: watched.keep(paths.side(MONITOR, "parquet")),
                "validation": _validation(checks),
                "outputs": outputs,
                "tables": {
                    name: {"columns": columns_to_meta(SIDES[name].columns)} for name in sides
                },
            }
            write_meta(paths.meta, meta)
            journal.discard()
            _report(paths, checks)
    return Run(paths.meta, meta)


def _watch(
    job: JobProgress, journal: Journal, lines: Path, config: WatchConfig, resume: bool
) -> JobMonitor:
    plan = job.plan
    # Before the first sample, which would take an earlier run's work for this one's.
    job.resume(journal.rows)
    return JobMonitor(
        "analyze",
        plan.checkpoint.files.model_id,
        job.state,
        config=config,
        gate=job.meter.gate,
        folder=lines.parent,
        lines=lines,
        resume=resume,
        device_memory=plan.backend.device_memory,
        tell=job.tell,
    )


def _measure(plan: Plan, journal: Journal, meter: UsageMeter, job: JobProgress) -> dict[int, Row]:
    """All rows of the plan, those that the journal had and those that it gets now."""
    rows = dict(journal.rows)
    if rows:
        _log.info("resuming: %d of %d rows are there", len(rows), len(plan.weights))
    job.begin(sorted(rows))
    try:
        for row in analyze_rows(plan, dict(rows), meter, job.start):
            journal.append(row)
            # Its singular values are on the disk now; those of all rows could be gigabytes.
            rows[row.index] = replace(row, sigma=None)
            weight = plan.weights[row.index]
            _log.info("%s: %s", weight.label, row.values["status_reason"] or row.values["status"])
            job.finish(weight)
    except KeyboardInterrupt:
        _log.warning("interrupted after %d of %d rows", len(rows), len(plan.weights))
        raise Interrupted(
            f"interrupted; {len(rows)} of {len(plan.weights)} rows are saved in {journal.path}",
            "Run the same command again to go on from there",
        ) from None
    finally:
        job.end()
    return rows


def _refuse_changed(plan: Plan, fingerprint: str) -> None:
    """Rows from before and after a change describe no model at all."""
    try:
        if plan.fingerprint == fingerprint:
            return
    except OSError:
        pass  # gone is changed
    raise CheckpointError(
        f"{plan.checkpoint.files.path} changed while it was read",
        "Leave its files alone and run the same command again, which starts over",
    )


def _describe(plan: Plan, rows: Sequence[Mapping[str, Any]], usage: Usage) -> dict[str, Any]:
    """The part of the metadata that tells what was run, with what, and what it took."""
    files, adapter = plan.checkpoint.files, plan.checkpoint.adapter
    return {
        "model": {
            "id": files.model_id,
            "revision": files.revision,
            "path": str(files.path),
            "weights": [str(path) for path in files.weights],
            "index": None if files.index is None else str(files.index),
            "config": None if files.config is None else str(files.config),
            "framework": plan.checkpoint.framework,
            "architecture": plan.checkpoint.architecture.describe(),
            "adapter": adapter.describe() if adapter else None,
        },
        "code_version": __version__,
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "configuration": asdict(plan.config),
        "backend": plan.backend.name,
        "device": plan.backend.device,
        "backend_reason": plan.backend_reason,
        "environment": package_versions(),
        "bytes": plan.nbytes,
        "bytes_read": usage.bytes_read,
        "mean_gbps": usage.mean_bandwidth / 1e9,
        "peak_gbps": usage.peak_bandwidth / 1e9,
        "peak_process_memory": usage.peak_memory,
        "peak_device_memory": usage.peak_device_memory,
        "rows_by_status": dict(Counter(row["status"] for row in rows)),
        "columns": columns_to_meta(plan.columns),
    }


def _cost(plan: Plan, usage: Usage, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The part of the metadata that tells what each stage cost, and what limited the run."""
    calibration, workers = load_calibration(rates=True), plan.config.workers
    lanes = min(plan.backend.lanes or workers, workers)
    return {
        "stages": stage_costs(usage.stages, calibration),
        "limit": asdict(binding_limit(STAGES, usage.stages, seconds, workers, lanes)),
        "calibration": calibration.describe(),
    }


def _validation(checks: Sequence[Check]) -> dict[str, Any]:
    return {
        "passed": all(check.passed for check in checks),
        "checks": [asdict(check) for check in checks],
    }


def _report(paths: RunPaths, checks: Sequence[Check]) -> None:
    for check in checks:
        level = logging.INFO if check.passed else logging.ERROR
        _log.log(level, "%s: %s", check.name, check.detail)
    _log.info("written: %s", ", ".join(str(paths.table(name)) for name in paths.formats))


def _total(rows: Sequence[Mapping[str, Any]], column: str) -> float:
    return sum(row[column] or 0.0 for row in rows)


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Send the package's log to a file while the run lasts, and to the log what ended it."""
    logger = logging.getLogger("mlx_probe")
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise write_error(path, error) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    except (Interrupted, Stopped):
        raise  # no fault
    except ProbeError as error:
        _log.error("%s", error)
        raise
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
        handler.close()

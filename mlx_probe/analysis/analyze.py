"""An analysis as a job: every tensor of a model is measured into a table in a folder."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.columns import SPECTRUM_IDENTITY
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.opening import describe_model, open_checkpoint
from mlx_probe.analysis.plan import Plan, make_plan
from mlx_probe.analysis.progress import Progress, Silent
from mlx_probe.analysis.rows import every_row
from mlx_probe.analysis.sampling import sample_facts, sample_text
from mlx_probe.analysis.settings import with_settings
from mlx_probe.analysis.side_tables import SIDES, side_names, side_tables
from mlx_probe.analysis.spotcheck import SpotChecks
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.stream import analyze_rows
from mlx_probe.analysis.table_checks import no_failures, validate_table
from mlx_probe.analysis.unread import (
    describe_unread,
    find_unread,
    skip_reasons,
    warn_of_unread,
)
from mlx_probe.analysis.unsplit import warn_of_unsplit
from mlx_probe.checkpoint import Weight
from mlx_probe.compute import native
from mlx_probe.core.errors import CheckpointError
from mlx_probe.core.records import Row
from mlx_probe.runs.check import Check
from mlx_probe.runs.environment import package_versions
from mlx_probe.runs.fingerprint import file_stamps
from mlx_probe.runs.folder import RunPaths, resolve_output
from mlx_probe.runs.job import Job, JobSpec
from mlx_probe.runs.meta import columns_to_meta
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.runs.outputs import finalize
from mlx_probe.runs.run import Run
from mlx_probe.runs.table.schema import rows_to_table
from mlx_probe.source.transfer.progress import DownloadProgress

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.analysis.cluster.config import ClusterConfig
    from mlx_probe.analysis.cluster.rows import AnalyzeRun

__all__ = ["analyze"]


def analyze(
    model: str | Path,
    *,
    out: str | Path | None = None,
    formats: Sequence[str] = (),
    revision: str | None = None,
    config: AnalyzeConfig | None = None,
    watch: WatchConfig | None = None,
    resume: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
    fetching: DownloadProgress | None = None,
    cluster: str | ClusterConfig | None = None,
    **settings: Any,
) -> Run:
    """Measure every tensor of a model and write the table.

    Each row is on disk as soon as it is computed. An interrupted run goes on where it stopped if
    it is called again with the same model, configuration and ``out``. Nothing is printed.

    Example::

        run = mlx_probe.analyze("Qwen/Qwen3-0.6B", metrics="full")

    Args:
        model: See `open_checkpoint`.
        out: Folder, or a file with a known suffix; None for a new folder
            ``data/outputs/<model>/<time>/``, or that of the run that was interrupted.
        formats: Keys of `WRITERS`; empty for the suffix of ``out``, or else CSV.
        revision: See `open_checkpoint`.
        config: What to compute and how.
        watch: Rules on the machine's resources, and where samples go; changes no result.
        resume: Whether to use the rows of an interrupted run.
        overwrite: Whether to replace what ``out`` holds: another run, or files of the user.
        progress: Called as the work goes on.
        fetching: Shows how far a download of the model is; see `open_checkpoint`.
        cluster: Workers of Dask that measure in place of this process: a scheduler's address, or
            local:N; needs the extra ``cluster``. Rows are the same bits on equal machines.
        **settings: Fields of `AnalyzeConfig`, such as ``metrics="full"``; they win over
            ``config``.

    Returns:
        The run. Look at its ``failures``: a run with wrong numbers is written as well.

    Raises:
        ConfigError: An unknown setting, or a value outside its domain.
        ResultError: ``out`` holds another run or files of the user, or another process makes the
            same run just now.
        Stopped: A rule that stops was broken; finished rows stay on disk.
        ClusterError: A worker may not take part, or there is none any more.
        ProbeError: One of its kinds; finished rows stay on disk.
    """
    config = with_settings(config or AnalyzeConfig(), settings, analyze, "analyze")
    progress = progress or Silent()
    job = Job("analyze", watch=watch, resume=resume, overwrite=overwrite, on_alert=progress.alert)
    with open_checkpoint(model, revision, fetching=fetching) as checkpoint, ExitStack() as stack:
        paths = resolve_output(out, formats, checkpoint.files.model_id)
        plan = make_plan(checkpoint, config, strict=cluster is None)
        spread = stack.enter_context(_spread(plan, config, cluster)) if cluster else None
        if spread:
            plan = replace(plan, backend_reason=spread.reason)
        job.begin("measure")
        with job.running(_spec(plan, paths, spread)):
            warn_of_unread(find_unread(plan.sampled, [checkpoint.config]), job.warn)
            warn_of_unsplit(plan.sampled, job.warn)
            spot_checks = SpotChecks(plan, job.journal.rows.statuses, job.meter)
            _measure(plan, job, progress, _rows(plan, job, spot_checks, spread))
            job.refuse_changed(
                CheckpointError(
                    f"{checkpoint.files.path} changed while it was read",
                    "Leave its files alone and run the same command again, which starts over",
                )
            )
            sides = (
                spread.side_tables(job.meter, job.warn) if spread else side_tables(plan, job.meter)
            )
            job.begin("validate", "validating and writing")
            # From the disk: the rows of a large model do not have to fit into memory.
            table = rows_to_table(every_row(plan, job.journal.rows), plan.columns)
            checks = _checks(plan, table, spot_checks)
            unread = find_unread(plan.sampled, [checkpoint.config], skip_reasons(table))
            job.begin("write")
            spectra = job.journal.spectra()
            outputs = finalize(job.paths, table, sides, spectra, SPECTRUM_IDENTITY)
            described = {**_describe(plan, table, sides), **describe_unread(unread)}
            described |= _judged(table, sides, described)
            described |= spread.describe() if spread else {}
            run = job.finish(described, checks, outputs, _seconds(table))
            return replace(run, table=table, sides=sides)


def _spread(
    plan: Plan, config: AnalyzeConfig, cluster: str | ClusterConfig
) -> AbstractContextManager[AnalyzeRun]:
    # Dask is an extra, and few runs need it.
    from mlx_probe.analysis.cluster.config import cluster_config
    from mlx_probe.analysis.cluster.rows import cluster_run

    return cluster_run(plan, config, cluster_config(cluster))


def _spec(plan: Plan, paths: RunPaths, spread: AnalyzeRun | None) -> JobSpec:
    files, workers = plan.checkpoint.files, spread.threads if spread else plan.config.workers
    return JobSpec(
        title=files.model_id,
        about=(
            f"{files.model_id} at {files.revision}",
            *(spread.about if spread else [plan.backend_reason]),
            *([sample_text(plan)] if plan.unsampled else []),
        ),
        paths=paths,
        columns=plan.columns,
        fingerprint=lambda: spread.fingerprint if spread else plan.fingerprint,
        stages=STAGES,
        described={
            "model": describe_model(plan.checkpoint),
            "configuration": asdict(plan.config),
            "stamps": file_stamps(files.weights),
            "kernels": sorted(native.used()),
        },
        sides=tuple(SIDES),
        sizes=[None if i in plan.unsampled else w.nbytes for i, w in enumerate(plan.weights)],
        workers=workers,
        lanes=workers if spread else min(plan.backend.lanes or workers, workers),
        device_memory=plan.backend.device_memory,
    )


def _prepare(plan: Plan, job: Job, begun: threading.Event) -> None:
    """Write the plan, and import what the tables need, when the workers have begun."""
    begun.wait()
    from mlx_probe.analysis.forecast.forecast import forecast
    from mlx_probe.analysis.forecast.rates import known_rates

    # From known rates only: a calibration would take time and memory of the run.
    job.write_plan(forecast(plan, job.paths, known_rates(plan)).describe())
    import_module("mlx_probe.analysis.findings")
    import_module("mlx_probe.analysis.summary")
    import_module("pyarrow.csv")
    import_module("pyarrow.parquet")
    package_versions()


def _rows(
    plan: Plan, job: Job, spot_checks: SpotChecks, spread: AnalyzeRun | None
) -> Callable[[Callable[[Weight], None]], Iterator[list[Row]]]:
    """What measures the rows that the journal does not have yet: this process, or a cluster."""
    finished = job.journal.rows
    if spread is not None:
        return lambda start: spread.rows(finished, job.meter, start, job.warn)
    return lambda start: analyze_rows(plan, finished, job.meter, start, spot_checks.ahead())


def _measure(
    plan: Plan,
    job: Job,
    progress: Progress,
    measured: Callable[[Callable[[Weight], None]], Iterator[list[Row]]],
) -> None:
    """Put the rows on disk that the journal does not have yet."""
    begun = threading.Event()

    def start(weight: Weight) -> None:
        job.progress.what = weight.label
        progress.start(weight)
        begun.set()

    progress.begin(plan, sorted(job.journal.rows))
    with ThreadPoolExecutor(1) as beside:
        prepared = beside.submit(_prepare, plan, job, begun)
        try:
            for rows in measured(start):
                weights = [plan.weights[row.index] for row in rows]
                outcomes = [row.values["status_reason"] or row.values["status"] for row in rows]
                labels = [weight.label for weight in weights]
                job.append_all(list(zip(rows, labels, outcomes, strict=True)))
                usage = job.meter.usage()
                for weight in weights:
                    progress.finish(weight, usage)
                if prepared.done():
                    prepared.result()  # a full disk ends the run now, not after the last row
        finally:
            begun.set()
            job.progress.what = side_names(plan.config.metrics)
            progress.end()
        prepared.result()


def _checks(plan: Plan, table: pa.Table, spot_checks: SpotChecks) -> list[Check]:
    names = [weight.name for weight in plan.weights]
    checks = validate_table(table, plan.columns, len(plan.weights), names)
    return [*checks, no_failures(table), *spot_checks.checks(table)]


def _describe(plan: Plan, table: pa.Table, sides: Collection[str]) -> dict[str, Any]:
    """The part of the metadata that only an analysis has."""
    return {
        "model": describe_model(plan.checkpoint),
        "configuration": asdict(plan.config),
        "backend": plan.backend.name,
        "device": plan.backend.device,
        "backend_reason": plan.backend_reason,
        "bytes": plan.nbytes,
        "sample": sample_facts(plan),
        "rows_by_status": dict(Counter(table["status"].to_pylist())),
        "tables": {name: {"columns": columns_to_meta(SIDES[name].columns)} for name in sides},
    }


def _judged(
    table: pa.Table, sides: Mapping[str, pa.Table], described: Mapping[str, Any]
) -> dict[str, Any]:
    """What the rules and the summary say of the model."""
    from mlx_probe.analysis.findings import RunView, findings_in
    from mlx_probe.analysis.summary import summary_in

    view = RunView(table, sides, described)
    findings = [finding.as_json() for finding in findings_in(view)]
    return {"findings": findings, "summary": summary_in(view)}


def _seconds(table: pa.Table) -> dict[str, float]:
    """Seconds of all workers, including those of an earlier process."""
    columns = {"read_in_workers": "read_seconds", "compute_in_workers": "compute_seconds"}
    return {name: sum(filter(None, table[column].to_pylist())) for name, column in columns.items()}

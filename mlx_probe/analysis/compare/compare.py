"""A comparison as a job: two checkpoints, or a base and its adapter, are compared in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.compare.checks import check_comparison
from mlx_probe.analysis.compare.columns import COLUMNS
from mlx_probe.analysis.compare.companion import Beside
from mlx_probe.analysis.compare.config import KIND, CompareConfig, refuse_nonsense
from mlx_probe.analysis.compare.forecast import forecast_comparison
from mlx_probe.analysis.compare.plan import ComparePlan, make_plan
from mlx_probe.analysis.compare.stream import compare_rows
from mlx_probe.analysis.forecast.rates import kept_rates
from mlx_probe.analysis.opening import describe_model, open_model_or_run
from mlx_probe.analysis.settings import with_settings
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.unread import Unread, describe_unread, find_unread, warn_of_unread
from mlx_probe.checkpoint import Weight
from mlx_probe.compute import native
from mlx_probe.core.errors import CheckpointError
from mlx_probe.core.records import Row
from mlx_probe.runs.fingerprint import file_stamps, fingerprint_of
from mlx_probe.runs.folder import RunPaths, resolve_output
from mlx_probe.runs.job import Job, JobSpec
from mlx_probe.runs.meta import columns_to_meta
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.runs.outputs import finalize, hashed
from mlx_probe.runs.run import Run
from mlx_probe.runs.table.schema import rows_to_table
from mlx_probe.source.transfer.progress import DownloadProgress

if TYPE_CHECKING:
    from mlx_probe.analysis.cluster.compare_rows import CompareRun
    from mlx_probe.analysis.cluster.config import ClusterConfig
    from mlx_probe.analysis.compare.companion import Companion

__all__ = ["compare"]


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
    overwrite: bool = False,
    on_row: Callable[[int, int, str], None] | None = None,
    on_alert: Callable[[str, bool], None] | None = None,
    fetching: DownloadProgress | None = None,
    cluster: str | ClusterConfig | None = None,
    companion: Companion | None = None,
    **settings: Any,
) -> Run:
    """Compare two models, or a base and its adapter, and write one row for each matrix.

    Both are read side by side, a block of a matrix at a time. Rows do not depend on the number of
    workers. Each row is on disk as soon as it is computed: an interrupted comparison goes on
    where it stopped. Nothing is printed.

    Example::

        run = mlx_probe.compare("base", "tuned", include=("*attn*",))

    Args:
        a: The first model, the base; see `open_model_or_run`.
        b: The second, the tuned or quantized one; or an adapter of ``a``.
        out: Folder, or a file with a known suffix; None for a new folder
            ``data/outputs/<a>--vs--<b>/<time>/``, or that of the one that was interrupted.
        formats: Keys of `WRITERS`; empty for the suffix of ``out``, or else CSV.
        revision_a: Commit, branch, tag or version of A.
        revision_b: The same of B.
        config: What to compute and how.
        watch: Rules on the machine's resources, and where samples go; changes no result.
        resume: Whether to use the rows of an interrupted comparison.
        overwrite: Whether to replace what ``out`` holds: another run, or files of the user.
        on_row: Called after each row with the number of finished rows, the number of all rows,
            and the label of the row's tensor.
        on_alert: Called when a rule is broken or kept again, with a message and whether it is a
            warning; None for the log alone.
        fetching: Shows how far a download of a model is; see `open_checkpoint`.
        cluster: Workers of Dask that measure in place of this process; see `analyze`. What the
            memory limit leaves out is decided here.
        companion: Makes something more of the two models in the same job.
        **settings: Fields of `CompareConfig`, such as ``directions=4``; they win over ``config``.

    Returns:
        The run, with ``meta["kind"] == "compare"``. Look at its ``failures``.

    Raises:
        Stopped: A rule that stops was broken; finished rows stay on disk.
        ClusterError: A worker may not take part, or there is none any more.
        ProbeError: One of its kinds; finished rows stay on disk.
    """
    config = with_settings(config or CompareConfig(), settings, compare, "compare")
    job = Job(KIND, watch=watch, resume=resume, overwrite=overwrite, on_alert=on_alert)
    refuse_nonsense(config)
    with (
        open_model_or_run(a, revision_a, fetching) as first,
        open_model_or_run(b, revision_b, fetching) as second,
        ExitStack() as stack,
    ):
        plan = make_plan(first, second, config, strict=cluster is None)
        if companion is not None:
            companion.refuse(plan)
        paths = resolve_output(out, formats, plan.title, KIND, stem=KIND)
        spread = stack.enter_context(_spread(plan, config, cluster)) if cluster else None
        if spread:
            plan = replace(plan, backend_reason=spread.reason)
        job.begin("measure")
        spec = _spec(plan, paths, spread, companion)
        with job.running(spec):
            # From known rates only: a calibration would take time and memory of the run.
            rates = kept_rates(plan.backend)
            job.write_plan(forecast_comparison(plan, job.paths, rates).describe())
            warn_of_unread(_unread(plan), job.warn)
            rows = _measure(plan, job, on_row, _rows(plan, job, spread))
            beside = Beside()
            if companion is not None:
                beside = companion.make(plan, rows, job, spec.fingerprint())
            job.refuse_changed(
                CheckpointError(
                    "a model changed while it was compared",
                    "Leave its files alone and run the same command again",
                )
            )
            job.begin("validate", "validating and writing")
            table = rows_to_table(rows, COLUMNS)
            checks = check_comparison(table, len(plan.pairs))
            job.begin("write")
            tables = beside.tables
            outputs = finalize(job.paths, table, {name: made for name, (made, _) in tables.items()})
            outputs |= hashed(job.paths.folder, beside.files)
            described = {**_describe(plan, rows), **describe_unread(_unread(plan, rows))}
            described |= _companions(companion, plan, beside)
            described |= spread.describe() if spread else {}
            return job.finish(described, checks, outputs, _seconds(rows))


def _spread(
    plan: ComparePlan, config: CompareConfig, cluster: str | ClusterConfig
) -> AbstractContextManager[CompareRun]:
    # Dask is an extra, and few runs need it.
    from mlx_probe.analysis.cluster.compare_rows import compare_run
    from mlx_probe.analysis.cluster.config import cluster_config

    return compare_run(plan, config, cluster_config(cluster))


def _spec(
    plan: ComparePlan, paths: RunPaths, spread: CompareRun | None, companion: Companion | None
) -> JobSpec:
    models = [model.files for model in (plan.a, plan.b)]
    workers = spread.threads if spread else plan.config.workers
    return JobSpec(
        title=" and ".join(files.model_id for files in models),
        about=(
            *(f"{files.model_id} at {files.revision}" for files in models),
            *(spread.about if spread else [plan.backend_reason]),
        ),
        paths=paths,
        columns=COLUMNS,
        fingerprint=partial(_fingerprint, plan, spread, companion),
        stages=STAGES,
        described={
            **_models(plan),
            "configuration": _configuration(plan, companion),
            "stamps": [file_stamps(files.weights) for files in models],
            "kernels": sorted(native.used()),
        },
        sides=companion.sides if companion is not None else (),
        sizes=plan.sizes,
        workers=workers,
        lanes=workers if spread else min(plan.backend.lanes or workers, workers),
        device_memory=plan.backend.device_memory,
    )


def _fingerprint(plan: ComparePlan, spread: CompareRun | None, companion: Companion | None) -> str:
    rows = spread.fingerprint if spread else plan.fingerprint
    if companion is None:
        return rows
    return fingerprint_of({"rows": rows, "companion": dict(companion.settings)})


def _configuration(plan: ComparePlan, companion: Companion | None) -> dict[str, Any]:
    asked = {} if companion is None else {"extract": dict(companion.settings)}
    return {**asdict(plan.config), **asked}


def _companions(companion: Companion | None, plan: ComparePlan, beside: Beside) -> dict[str, Any]:
    """The part of the metadata that a companion has."""
    if companion is None:
        return {}
    tables = {name: {"columns": columns_to_meta(each)} for name, (_, each) in beside.tables.items()}
    return {
        "configuration": _configuration(plan, companion),
        "tables": tables,
        **beside.described,
    }


def _rows(
    plan: ComparePlan, job: Job, spread: CompareRun | None
) -> Callable[[Callable[[Weight], None]], Iterator[list[Row]]]:
    """What measures the rows that the journal does not have yet: this process, or a cluster."""
    finished = job.journal.rows
    if spread is not None:
        return lambda start: spread.rows(finished, job.meter, start, job.warn)
    return lambda start: compare_rows(plan, finished, job.meter, start)


def _measure(
    plan: ComparePlan,
    job: Job,
    on_row: Callable[[int, int, str], None] | None,
    measured: Callable[[Callable[[Weight], None]], Iterator[list[Row]]],
) -> list[Row]:
    """One row for each pair: those of the journal, and those that are measured now."""

    def start(weight: Weight) -> None:
        job.progress.what = weight.label

    rows = list(job.journal.rows.values())
    for together in measured(start):
        labels = [plan.pairs[row.index].weight.label for row in together]
        outcomes = [row.values["status_reason"] or row.values["status"] for row in together]
        job.append_all(list(zip(together, labels, outcomes, strict=True)))
        for row, label in zip(together, labels, strict=True):
            rows.append(row)
            if on_row is not None:
                on_row(len(rows), len(plan.pairs), label)
    return rows


def _unread(plan: ComparePlan, rows: Sequence[Row] = ()) -> Unread | None:
    """What of the two models has no numbers; with the rows, what could not be read either."""
    skipped = {
        row.index: str(row.values["status_reason"])
        for row in rows
        if row.values["status"] == "skipped" and plan.pairs[row.index].status is None
    }
    # By side and label: several pairs may have one weight.
    sides = {
        (side, weight.label): (weight, weight.problem or skipped.get(index))
        for index, pair in enumerate(plan.pairs)
        for side, weight in (("a", pair.a), ("b", pair.b))
        if weight is not None
    }
    unknown = {
        ("a", pair.a.label): (pair.a, pair.reason)
        for pair in plan.pairs
        if pair.is_change_unknown and pair.a is not None
    }
    cause = None
    if not any(reason for _, reason in sides.values()) and unknown:
        cause = "what the adapter makes of them is not computed"
    sides |= unknown
    weights, reasons = zip(*sides.values(), strict=True) if sides else ((), ())
    return find_unread(weights, [plan.a.config, plan.b.config], reasons, cause)


def _describe(plan: ComparePlan, rows: Sequence[Row]) -> dict[str, Any]:
    """The part of the metadata that only a comparison has."""
    return {
        **_models(plan),
        "configuration": _configuration(plan, None),
        "backend": plan.backend.name,
        "device": plan.backend.device,
        "backend_reason": plan.backend_reason,
        "rows_by_status": dict(Counter(row.values["status"] for row in rows)),
        "rows_by_match": dict(Counter(str(row.values["matched_by"]) for row in rows)),
    }


def _models(plan: ComparePlan) -> dict[str, Any]:
    return {"models": {"a": describe_model(plan.a), "b": describe_model(plan.b)}}


def _seconds(rows: Sequence[Row]) -> dict[str, float]:
    """Seconds of all workers, including those of an earlier process."""
    return {
        "compute_in_workers": sum(row.values.get("compute_seconds") or 0.0 for row in rows),
    }

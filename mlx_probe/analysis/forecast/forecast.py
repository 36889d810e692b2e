"""The plan of an analysis for its user: goal, inputs, steps, outputs, checks, time and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from mlx_probe.analysis.forecast.advice import advice_for
from mlx_probe.analysis.forecast.duration import duration_of, flops_by_stage
from mlx_probe.analysis.forecast.inference import cache_of, inference_of
from mlx_probe.analysis.forecast.memory import memory_of
from mlx_probe.analysis.forecast.records import Fetch, Forecast, StageEstimate, Step
from mlx_probe.analysis.sampling import sample_facts
from mlx_probe.analysis.side_tables import side_names
from mlx_probe.analysis.spotcheck import SPOT_CHECKS
from mlx_probe.analysis.unread import find_unread
from mlx_probe.compute.calibration import load_calibration
from mlx_probe.runs.spectra import SPECTRA

if TYPE_CHECKING:
    from mlx_probe.analysis.forecast.rates import Rates
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.runs.folder import RunPaths

__all__ = ["forecast"]


def forecast(
    plan: Plan,
    paths: RunPaths,
    rates: Rates | None,
    fetch: Fetch | None = None,
    limit: int = 0,
    contexts: Sequence[int] = (),
    widths: Sequence[int] = (),
    device_limit: int | None = None,
) -> Forecast:
    """The forecast for a plan.

    Args:
        plan: The plan.
        paths: Where its results go.
        rates: Times of the steps on this machine; None leaves the times out.
        fetch: What has to be downloaded first; None for nothing.
        limit: The user's memory limit, if the plan had to raise it; 0 for the plan's.
        contexts: Context lengths for the memory of inference, in tokens.
        widths: Bits of a weight for it.
        device_limit: Bytes that the device should hold at most; None if it names no limit.
    """
    files, config, checkpoint = plan.checkpoint.files, plan.config, plan.checkpoint
    memory = memory_of(plan, limit or config.memory_limit)
    fetch = fetch or Fetch()
    flops = flops_by_stage(plan)
    duration = duration_of(plan, rates) if rates else None
    times = duration.stages if duration else dict.fromkeys(flops, None)
    spectra = sum(weight.has_spectrum for weight in plan.sampled)
    cache, unread = cache_of(checkpoint), find_unread(plan.sampled, [checkpoint.config])
    return Forecast(
        goal=f"{config.metrics} metrics of {len(plan.sampled)} weights, {spectra} spectra",
        model={
            "id": files.model_id,
            "revision": files.revision,
            "path": str(files.path),
            "framework": checkpoint.framework,
            "parameters": sum(p.numel for p in checkpoint.parameters if p.problem is None),
            "architecture": checkpoint.architecture.describe(),
        },
        inputs=tuple(map(str, files.weights)),
        steps=_steps(plan, fetch),
        outputs=_outputs(plan, paths),
        checks=(
            "rows, columns, types, ranges, ranks",
            f"{SPOT_CHECKS} weights recomputed in float64 (seed {config.seed})",
            "the model's files are the same at the end as at the beginning",
        ),
        log=str(paths.log),
        configuration=asdict(config),
        backend=plan.backend_reason,
        fetch=fetch,
        read_bytes=plan.read_bytes,
        weights=len(plan.sampled),
        spectra=spectra,
        sample=sample_facts(plan),
        copies=len(plan.aliases),
        unreadable=tuple((w.label, w.problem, w.nbytes) for w in plan.sampled if w.problem),
        memory=memory,
        device_limit=device_limit,
        stages={
            name: StageEstimate(seconds, flops.get(name, 0.0))
            for name, seconds in sorted(times.items())
        },
        seconds=duration.seconds if duration else None,
        inference=inference_of(checkpoint, contexts, widths),
        cache_unknown=cache.unknown,
        cache_none=cache.none,
        unread=str(unread) if unread else "",
        advice=advice_for(plan, memory, fetch.nbytes, fetch.free, device_limit),
        machine=load_calibration().machine,
    )


def _outputs(plan: Plan, paths: RunPaths) -> tuple[str, ...]:
    # Side tables are not listed: whether a model has any is not known yet.
    matrices = any(weight.has_spectrum for weight in plan.sampled)
    kept = plan.config.save_spectra and matrices and plan.config.metrics != "basic"
    spectra = [paths.side(SPECTRA, "parquet")] if kept else []
    tables = map(paths.table, paths.formats)
    return tuple(str(path) for path in (*tables, *spectra, paths.plan, paths.meta))


def _steps(plan: Plan, fetch: Fetch) -> tuple[Step, ...]:
    config, files = plan.config, plan.checkpoint.files
    steps = []
    if fetch.nbytes:
        steps.append(
            Step(
                "download what is missing, and check every file's hash",
                "resume where the connection broke; another mirror with --endpoint",
            )
        )
    steps += [
        Step(
            f"map {len(files.weights)} file(s), {config.workers} weight(s) in flight",
            "a damaged file is named, and nothing is computed",
        ),
        Step(
            "stream each weight once: moments and Gram matrix from the same slabs",
            "a weight that is not understood keeps its row, with the reason",
        ),
    ]
    if config.metrics == "basic":
        steps.append(
            Step(
                "rank by one Cholesky factorization",
                "counted by inertia; float64 SVD where that leaves it open",
            )
        )
    else:
        steps.append(
            Step(
                "singular values from the Gram matrix",
                "float64 QR and SVD of the matrix where the error bound is too wide",
            )
        )
    if sides := side_names(config.metrics):
        steps.append(Step(f"{sides}, several weights together", "skipped, with the reason"))
    return (
        *steps,
        Step(
            "write each row to a journal as it is done",
            "after an interruption the same command goes on from there",
        ),
        Step("write the tables and run_meta.json", "the journal stays until they are whole"),
    )

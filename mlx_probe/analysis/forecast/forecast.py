"""The plan of an analysis for its user: goal, inputs, steps, outputs, checks, time and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.forecast.advice import advice_for
from mlx_probe.analysis.forecast.duration import duration_of, flops_by_stage
from mlx_probe.analysis.forecast.inference import Inference, cache_of, inference_of
from mlx_probe.analysis.forecast.memory import Memory, memory_of
from mlx_probe.analysis.side_tables import side_names
from mlx_probe.analysis.spotcheck import SPOT_CHECKS
from mlx_probe.compute.calibration import load_calibration
from mlx_probe.core.version import __version__
from mlx_probe.runs.spectra import SPECTRA

if TYPE_CHECKING:
    from mlx_probe.analysis.forecast.rates import Rates
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.runs.folder import RunPaths

__all__ = ["Fetch", "Forecast", "StageEstimate", "Step", "forecast"]


@dataclass(frozen=True)
class Step:
    """One step of the analysis.

    Attributes:
        what: What is done.
        fallback: What happens if it cannot be done.
    """

    what: str
    fallback: str


@dataclass(frozen=True)
class StageEstimate:
    """Cost of one stage.

    Attributes:
        seconds: In all workers together; None without a calibration.
        flops: Floating-point operations of the algorithm.
    """

    seconds: float | None
    flops: float


@dataclass(frozen=True)
class Fetch:
    """What has to be downloaded.

    Attributes:
        nbytes: Bytes to download.
        folder: Where to.
        free: Free bytes there; None if unknown.
    """

    nbytes: int = 0
    folder: str = ""
    free: int | None = None

    @property
    def fits(self) -> bool:
        """Whether there is space; true if that is unknown."""
        return self.free is None or self.nbytes <= self.free


@dataclass(frozen=True)
class Forecast:
    """Everything that is known before the first weight is read.

    Attributes:
        goal: What the run computes.
        model: Identifier, revision, path, format, parameters.
        inputs: Files that are read.
        steps: What is done, in order.
        outputs: Files that are written.
        checks: What is checked at the end.
        log: The log file.
        configuration: The configuration with every automatic choice made.
        backend: The backend, and why it was chosen.
        fetch: What has to be downloaded first.
        read_bytes: Bytes of weights to read.
        weights: Number of weights.
        spectra: Number of matrices with a spectrum.
        copies: Weights whose bytes are those of another.
        unreadable: Label and reason of weights that get a row without numbers.
        memory: Peak memory, and whether it fits.
        device_limit: Bytes that the device should hold at most; None if it names no limit.
        stages: Time and arithmetic by stage.
        seconds: Wall time of the run without opening the model; None without a calibration.
        inference: Memory that running the model would take.
        cache_unknown: Why the cache of inference is not known; "" if it is.
        advice: What to change so that it fits.
        machine: The machine of the calibration.
    """

    goal: str
    model: Mapping[str, Any]
    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    checks: tuple[str, ...]
    log: str
    configuration: Mapping[str, Any]
    backend: str
    fetch: Fetch
    read_bytes: int
    weights: int
    spectra: int
    copies: int
    unreadable: tuple[tuple[str, str, int], ...]
    memory: Memory
    device_limit: int | None
    stages: Mapping[str, StageEstimate]
    seconds: float | None
    inference: tuple[Inference, ...]
    cache_unknown: str
    advice: tuple[str, ...]
    machine: Mapping[str, str | int]

    @property
    def fits(self) -> bool:
        """Whether the run fits as it was configured."""
        device = self.device_limit is None or self.memory.in_flight <= self.device_limit
        return self.memory.fits and self.fetch.fits and device

    def describe(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            **asdict(self),
            "fits": self.fits,
            "memory": {**asdict(self.memory), "fits": self.memory.fits},
            "fetch": {**asdict(self.fetch), "fits": self.fetch.fits},
            "code_version": __version__,
            "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }


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
    spectra = sum(weight.has_spectrum for weight in plan.weights)
    return Forecast(
        goal=f"{config.metrics} metrics of {len(plan.weights)} weights, {spectra} spectra",
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
        weights=len(plan.weights),
        spectra=spectra,
        copies=len(plan.aliases),
        unreadable=tuple((w.label, w.problem, w.nbytes) for w in plan.weights if w.problem),
        memory=memory,
        device_limit=device_limit,
        stages={
            name: StageEstimate(seconds, flops.get(name, 0.0))
            for name, seconds in sorted(times.items())
        },
        seconds=duration.seconds if duration else None,
        inference=inference_of(checkpoint, contexts, widths),
        cache_unknown=cache_of(checkpoint).unknown,
        advice=advice_for(plan, memory, fetch.nbytes, fetch.free, device_limit),
        machine=load_calibration().machine,
    )


def _outputs(plan: Plan, paths: RunPaths) -> tuple[str, ...]:
    # Side tables are not listed: whether a model has any is not known yet.
    matrices = any(weight.has_spectrum for weight in plan.weights)
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

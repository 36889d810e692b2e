"""What a forecast says: steps, cost of the stages, what to fetch, memory, advice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.notebook import card
from mlx_probe.core.units import format_size
from mlx_probe.core.version import __version__
from mlx_probe.runs.sample_line import sample_line

if TYPE_CHECKING:
    from mlx_probe.analysis.forecast.inference import Inference
    from mlx_probe.analysis.forecast.memory import Memory

__all__ = ["Fetch", "Forecast", "StageEstimate", "Step", "described"]


def described(fields: Mapping[str, Any], memory: Memory, fits: bool) -> dict[str, Any]:
    """A forecast for JSON, with its verdict, version and time.

    Args:
        fields: The forecast's own.
        memory: Its memory.
        fits: Whether the run fits.
    """
    return {
        **fields,
        "fits": fits,
        "memory": {**asdict(memory), "fits": memory.fits},
        "code_version": __version__,
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


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


@dataclass(frozen=True, repr=False)
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
        weights: Number of weights that are measured.
        sample: What a sample measures and leaves out, see `sample_facts`; None if it is all.
        spectra: Number of matrices with a spectrum.
        copies: Weights whose bytes are those of another.
        unreadable: Label and reason of weights that get a row without numbers.
        memory: Peak memory, and whether it fits.
        device_limit: Bytes that the device should hold at most; None if it names no limit.
        stages: Time and arithmetic by stage.
        seconds: Wall time of the run without opening the model; None without a calibration.
        inference: Memory that running the model would take.
        cache_unknown: Why the cache of inference is not known; "" if it is.
        cache_none: Why the model has no such cache; "" if it has one.
        unread: What will have no numbers, as the run will say; "" if nothing.
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
    sample: Mapping[str, Any] | None
    spectra: int
    copies: int
    unreadable: tuple[tuple[str, str, int], ...]
    memory: Memory
    device_limit: int | None
    stages: Mapping[str, StageEstimate]
    seconds: float | None
    inference: tuple[Inference, ...]
    cache_unknown: str
    cache_none: str
    unread: str
    advice: tuple[str, ...]
    machine: Mapping[str, str | int]

    @property
    def fits(self) -> bool:
        """Whether the run fits as it was configured."""
        device = self.device_limit is None or self.memory.in_flight <= self.device_limit
        return self.memory.fits and self.fetch.fits and device

    def describe(self) -> dict[str, Any]:
        """Everything, for JSON."""
        fetch = {**asdict(self.fetch), "fits": self.fetch.fits}
        return described(asdict(self) | {"fetch": fetch}, self.memory, self.fits)

    def __repr__(self) -> str:
        """Model, weights, memory, time, and whether it fits."""
        facts = "; ".join(f"{label}: {text}" for label, text in self._facts().items())
        return tr("<Forecast of {model}; {facts}>", model=self.model.get("id", "?"), facts=facts)

    def _repr_html_(self) -> str:
        """The same in a notebook, with advice."""
        advice = [(tr("advice"), translated(line)) for line in self.advice]
        return card(str(self.model.get("id", "?")), self._facts(), advice)

    def _facts(self) -> dict[str, str]:
        memory = tr(
            "{need} of {limit}",
            need=format_size(self.memory.peak),
            limit=format_size(self.memory.limit),
        )
        facts = {
            tr("weights"): f"{self.weights:,}",
            tr("sample"): sample_line(self.sample),
            tr("spectra"): f"{self.spectra:,}",
            tr("to read"): format_size(self.read_bytes),
            tr("to download"): format_size(self.fetch.nbytes) if self.fetch.nbytes else "",
            tr("peak memory"): memory,
            tr("time"): "" if self.seconds is None else f"{self.seconds:.1f} s",
            tr("fits"): tr("yes") if self.fits else tr("no"),
            tr("incomplete"): translated(self.unread),
        }
        return {label: text for label, text in facts.items() if text}

"""What decides an analysis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mlx_probe.core.records import MetricLevel

__all__ = ["SPECTRUM_MODES", "AnalyzeConfig", "SpectrumMode"]

SpectrumMode = Literal["exact", "approx"]
SPECTRUM_MODES: tuple[SpectrumMode, ...] = ("exact", "approx")


@dataclass(frozen=True)
class AnalyzeConfig:
    """Everything that decides what `analyze` computes and how it runs.

    Attributes:
        backend: Key in `BACKENDS`, or "auto".
        device: "auto", "cpu" or "gpu".
        metrics: Which metric columns to fill: "basic", "standard" or "full".
        spectrum: "exact" for all singular values, "approx" for the leading ones and estimates.
        include: Globs on tensor names; empty means all.
        exclude: Globs on tensor names, applied after ``include``.
        rank_tol: `rank` counts singular values above ``rank_tol`` times the largest.
        zero_epsilon: `sparsity` counts magnitudes up to this.
        workers: Matrices in flight; 0 chooses for the backend and this machine.
        memory_limit: Bytes for the whole process; 0 takes four fifths of what is free.
        seed: Seeds the random vectors of approximate spectra, the resampling behind intervals,
            and the choice of the tensors that the spot check recomputes.
        save_spectra: Whether singular values are kept, in spectra.parquet.
    """

    backend: str = "auto"
    device: str = "auto"
    metrics: MetricLevel = "standard"
    spectrum: SpectrumMode = "exact"
    include: tuple[str, ...] = field(default=())
    exclude: tuple[str, ...] = field(default=())
    rank_tol: float = 1e-6
    zero_epsilon: float = 1e-8
    workers: int = 0
    memory_limit: int = 0
    seed: int = 0
    save_spectra: bool = True

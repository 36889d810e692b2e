"""The configuration of an analysis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import TYPE_CHECKING, Literal

from mlx_probe.analysis.sample import parse_sample
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import METRIC_LEVELS, MetricLevel

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "SPECTRUM_MODES",
    "AnalyzeConfig",
    "SpectrumMode",
    "refuse_no_numbers",
    "refuse_nonsense",
    "refuse_outside",
]

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
        sample: Which of these are measured, such as "layers=every:4|experts=8" (`parse_sample`);
            the others are rows without numbers, of status unsampled. "" measures all.
        rank_tol: `rank` counts singular values above ``rank_tol`` times the largest.
        zero_epsilon: `sparsity` counts magnitudes up to this.
        workers: Matrices in flight; 0 chooses for the backend and this machine.
        memory_limit: Bytes for the whole process; 0 takes four fifths of what is free.
        seed: Seeds the random vectors of approximate spectra, the resampling behind intervals,
            the choice of a sample's experts and of the tensors that the spot check recomputes.
        save_spectra: Whether singular values are kept, in spectra.parquet.
    """

    backend: str = "auto"
    device: str = "auto"
    metrics: MetricLevel = "standard"
    spectrum: SpectrumMode = "exact"
    include: tuple[str, ...] = field(default=())
    exclude: tuple[str, ...] = field(default=())
    sample: str = ""
    rank_tol: float = 1e-6
    zero_epsilon: float = 1e-8
    workers: int = 0
    memory_limit: int = 0
    seed: int = 0
    save_spectra: bool = True


def refuse_nonsense(config: AnalyzeConfig) -> None:
    """Refuse values that no analysis can be made with.

    Raises:
        ConfigError: A value is outside its domain.
    """
    refuse_no_numbers(config)
    if not isinstance(config.sample, str):
        raise ConfigError(f"sample cannot be {config.sample!r}", "Give a text")
    parse_sample(config.sample)
    refuse_outside(
        config,
        (
            ("backend", config.backend in ("auto", *BACKENDS), f"auto, {', '.join(BACKENDS)}"),
            ("device", config.device in ("auto", "cpu", "gpu"), "auto, cpu, gpu"),
            ("metrics", config.metrics in METRIC_LEVELS, ", ".join(METRIC_LEVELS)),
            ("spectrum", config.spectrum in SPECTRUM_MODES, ", ".join(SPECTRUM_MODES)),
            ("rank_tol", 0 < config.rank_tol < 1, "above 0 and below 1"),
            ("zero_epsilon", 0 <= config.zero_epsilon < math.inf, "finite and not negative"),
            ("workers", config.workers >= 0, "0 or more"),
            ("memory_limit", config.memory_limit >= 0, "0 or more bytes"),
        ),
    )


def refuse_no_numbers(config: DataclassInstance) -> None:
    """Refuse the first setting that has to be a number and is none.

    Args:
        config: Its defaults say which settings are numbers.

    Raises:
        ConfigError: One is no number.
    """
    for setting in fields(config):
        value = getattr(config, setting.name)
        # True and False are integers of Python.
        is_number = type(setting.default) in (int, float)
        if is_number and not isinstance(value, Real):
            raise ConfigError(f"{setting.name} cannot be {value!r}", "Give a number")


def refuse_outside(config: object, domains: Iterable[tuple[str, bool, str]]) -> None:
    """Refuse the first setting that is outside its domain.

    Args:
        config: Has the settings as attributes.
        domains: Name of each, whether it is inside, and the domain in words. Comparisons with
            NaN are false: write what holds, not what is wrong.

    Raises:
        ConfigError: One is outside.
    """
    for name, holds, domain in domains:
        if not holds:
            raise ConfigError(
                f"{name} cannot be {getattr(config, name)!r}", f"Choose a value: {domain}"
            )

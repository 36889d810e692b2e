"""The kinds of runs, and what each kind says of itself in its metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.runs.experiments import measured, trained
from mlx_probe.runs.experiments.records import Input, Value
from mlx_probe.runs.experiments.values import flat, mapping
from mlx_probe.runs.mixture.folder import KIND as STATS
from mlx_probe.runs.mixture.signals import KIND as SIGNALS
from mlx_probe.runs.training.folder import KIND as TRAIN
from mlx_probe.runs.training.folder import MIXTURE, TUNING

__all__ = ["RUN_KINDS", "RunKind"]

_Meta = Mapping[str, Any]


def _settings(meta: _Meta) -> dict[str, Value]:
    return flat(mapping(meta.get("configuration")))


def _nothing(folder: Path, meta: _Meta) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class RunKind:
    """A kind of run.

    Attributes:
        description: What such a run did, in a few words.
        command: The words of the command that makes it.
        metrics: Final numbers, from the metadata.
        inputs: What it came from, from the folder and the metadata.
        config: Settings, flattened.
        outputs: Absolute paths of the checkpoints that it wrote, from the folder and the metadata.
        has_steps: Whether there are numbers by step.
    """

    description: str
    command: tuple[str, ...]
    metrics: Callable[[_Meta], dict[str, float]]
    inputs: Callable[[Path, _Meta], tuple[Input, ...]]
    config: Callable[[_Meta], dict[str, Value]] = _settings
    outputs: Callable[[Path, _Meta], tuple[str, ...]] = _nothing
    has_steps: bool = False


# By "kind" in run_meta.json. Metadata without one are of the first versions, and of an analysis.
RUN_KINDS: Mapping[str, RunKind] = {
    "analyze": RunKind(
        "a model's tensors measured", ("analyze",), measured.of_analysis, measured.model
    ),
    "compare": RunKind(
        "two models compared", ("compare",), measured.of_comparison, measured.models
    ),
    TRAIN: RunKind(
        "a model trained from text", ("train",), trained.results, trained.training,
        trained.recipe, trained.model, has_steps=True,
    ),
    TUNING: RunKind(
        "a model tuned on conversations", ("tune",), trained.results, trained.tuning,
        trained.recipe, trained.adapter, has_steps=True,
    ),
    MIXTURE: RunKind(
        "the gates of a mixture trained", ("moe", "train"), trained.results, trained.mixture,
        trained.recipe, trained.model, has_steps=True,
    ),
    STATS: RunKind(
        "a mixture's experts described", ("moe", "stats"), measured.of_experts, measured.model
    ),
    SIGNALS: RunKind(
        "signals of a model reading a text", ("moe", "signals"), measured.of_signals,
        measured.model_and_text,
    ),
}  # fmt: skip

"""The kinds of runs, and what each kind says of itself in its metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.runs.experiments import measured, small, trained
from mlx_probe.runs.experiments.records import Input, Value
from mlx_probe.runs.experiments.values import flat, mapping

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
        metrics: Final numbers, from the metadata.
        inputs: What it came from, from the folder and the metadata.
        config: Settings, flattened.
        outputs: Absolute paths of the checkpoints that it wrote, from the folder and the metadata.
        has_steps: Whether there are numbers by step.
    """

    description: str
    metrics: Callable[[_Meta], dict[str, float]]
    inputs: Callable[[Path, _Meta], tuple[Input, ...]]
    config: Callable[[_Meta], dict[str, Value]] = _settings
    outputs: Callable[[Path, _Meta], tuple[str, ...]] = _nothing
    has_steps: bool = False


def _small(description: str, writes_model: bool = False) -> RunKind:
    """A kind whose metadata `SmallRun` writes."""
    outputs = small.written if writes_model else _nothing
    return RunKind(description, small.metrics, small.inputs, outputs=outputs)


# By "kind" in run_meta.json. Metadata without one are of the first versions, and of an analysis.
RUN_KINDS: Mapping[str, RunKind] = {
    "analyze": RunKind("a model's tensors measured", measured.of_analysis, measured.model),
    "compare": RunKind(
        "two models compared", measured.of_comparison, measured.models, outputs=small.written
    ),
    "train": RunKind(
        "a model trained from text", trained.results, trained.training, trained.recipe,
        trained.model, has_steps=True,
    ),
    "tune": RunKind(
        "a model tuned on conversations", trained.results, trained.tuning, trained.recipe,
        trained.adapter, has_steps=True,
    ),
    "moe-train": RunKind(
        "the gates of a mixture trained", trained.results, trained.mixture, trained.recipe,
        trained.model, has_steps=True,
    ),
    "moe-stats": RunKind("a mixture's experts described", measured.of_experts, measured.model),
    "moe-signals": RunKind(
        "signals of a model that reads a text", measured.of_signals, measured.model_and_text
    ),
    "lineage": _small("models related to each other"),
    "budget": _small("bits or ranks chosen for a model's matrices"),
    "similar-layers": _small("layers of a model compared"),
    "evaluate": _small("a model evaluated"),
    "load-test": _small("a server loaded"),
    "graft": _small("a dense model made a mixture", writes_model=True),
    "merge": _small("an adapter merged into its base", writes_model=True),
    "export": _small("a model written for another program", writes_model=True),
    "budget-export": _small("a model written under a budget", writes_model=True),
    "moe-prune": _small("experts of a mixture left out", writes_model=True),
    "moe-merge": _small("experts of a mixture merged", writes_model=True),
    "toolcalls": RunKind("function calls prepared", small.counts, small.files, small.settings),
    "sweep": _small("runs with different settings"),
    "series": _small("checkpoints of one model measured"),
}  # fmt: skip

"""The plan of an analysis: what is measured, with what, and how much of it at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlx_probe.analysis.budget import BESIDE, memory_budget, sufficient
from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.config import AnalyzeConfig, refuse_nonsense
from mlx_probe.analysis.sample import parse_sample
from mlx_probe.analysis.sampling import unsampled
from mlx_probe.analysis.selection import select_weights
from mlx_probe.analysis.working_set import eigen_solvers, working_set
from mlx_probe.checkpoint import Checkpoint, Weight, find_aliases
from mlx_probe.compute import native
from mlx_probe.compute.backends import Backend, choose_backend
from mlx_probe.compute.solver_crossover import EigenSolvers
from mlx_probe.core.collecting import uncollected
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import Column
from mlx_probe.core.units import format_size
from mlx_probe.core.version import __version__
from mlx_probe.metrics import metrics_of_level
from mlx_probe.runs.fingerprint import file_stamps, fingerprint_of

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """An analysis that is ready to start.

    Attributes:
        checkpoint: The opened model.
        weights: The weights, in file order; the position of a weight is the index of its row.
        backend: The backend.
        backend_reason: Why this backend, in one sentence.
        config: The configuration with all automatic choices made.
        columns: Columns of the result table.
        aliases: Position of each copy to the position of its original.
        unsampled: Position of each weight that the sample leaves out, to the reason: it gets a
            row, and its bytes are not read.
        sizes: Bytes of memory that each weight takes while it is measured; 0 if it is not.
        budget: Bytes that all weights in flight may take together.
        solvers: Which eigen-solver a matrix is given.
    """

    checkpoint: Checkpoint
    weights: tuple[Weight, ...]
    backend: Backend
    backend_reason: str
    config: AnalyzeConfig
    columns: tuple[Column, ...]
    aliases: Mapping[int, int]
    unsampled: Mapping[int, str]
    sizes: tuple[int, ...]
    budget: int
    solvers: EigenSolvers

    @property
    def sampled(self) -> tuple[Weight, ...]:
        """The weights that are measured, copies included."""
        return tuple(w for i, w in enumerate(self.weights) if i not in self.unsampled)

    @property
    def measured(self) -> tuple[Weight, ...]:
        """The weights whose bytes are read: those of `sampled` that are no copies."""
        left_out = self.aliases.keys() | self.unsampled.keys()
        return tuple(w for i, w in enumerate(self.weights) if i not in left_out)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights as stored; parts of fused ones do not count again."""
        return sum(weight.nbytes for weight in self.weights if weight.part is None)

    @property
    def read_bytes(self) -> int:
        """Bytes to read: parts of fused matrices are read twice, copies not at all."""
        return sum(weight.nbytes for weight in self.measured)

    @property
    def numerics(self) -> dict[str, Any]:
        """What decides the last digits of a row, beside the configuration."""
        return {
            "backend": self.backend.name,
            "device": self.backend.device,
            "solvers": self.solvers.settings,
            # A run that resumes never mixes numbers of both ways.
            "kernels": native.used(),
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides a row's values."""
        return self.fingerprint_with(self.numerics)

    def fingerprint_with(self, numerics: Mapping[str, Any]) -> str:
        """The fingerprint if others compute the rows.

        Args:
            numerics: What decides the last digits of a row there.
        """
        config = asdict(self.config)
        # These change no row: they decide how fast a run is, and which tensors are checked. The
        # device is in the numerics, as it was chosen.
        for name in ("workers", "memory_limit", "device"):
            del config[name]
        random = self.config.spectrum != "exact" or parse_sample(self.config.sample).experts
        if self.config.metrics == "basic" and not random:
            del config["seed"]
        files = self.checkpoint.files
        identity = {
            "code_version": __version__,
            "config": config,
            **numerics,
            "model": [str(files.path), files.model_id, files.revision],
            # Decides how packed and fused weights are read.
            "model_config": dict(self.checkpoint.config),
            "files": file_stamps(files.weights),
        }
        return fingerprint_of(identity)


@uncollected()
def make_plan(
    checkpoint: Checkpoint,
    config: AnalyzeConfig,
    strict: bool = True,
    only: Callable[[Weight], bool] | None = None,
) -> Plan:
    """Decide what to measure, with what, and how much of it at once.

    Args:
        checkpoint: The opened model. Copies are found only if it is on this disk.
        config: What the user asked for.
        strict: Whether to refuse a memory limit that cannot hold the largest weight; if not,
            the limit is raised.
        only: Which weights are measured, at least one, without a look for copies; None for all.

    Raises:
        BackendError: This machine lacks the backend or device.
        ConfigError: A setting makes no sense, no tensor is selected, the sample leaves nothing
            out, or the memory limit cannot hold the largest.
    """
    refuse_nonsense(config)
    backend, reason = choose_backend(config.backend, config.device)
    weights = select_weights(checkpoint.weights(), config.include, config.exclude)
    if only is not None:
        weights = tuple(weight for weight in weights if only(weight))
    sample = parse_sample(config.sample)
    left_out = unsampled(weights, sample, config.seed)
    sampled = [i for i in range(len(weights)) if i not in left_out]
    sizes = tuple(
        0 if i in left_out else working_set(weight, backend, config)
        for i, weight in enumerate(weights)
    )
    memory = memory_budget(config.memory_limit, 0 if "pyarrow.parquet" in sys.modules else BESIDE)
    largest = max(range(len(weights)), key=lambda i: sizes[i])
    least = memory.taken + sizes[largest]
    if least > memory.limit and strict:
        raise ConfigError(
            f"a memory limit of {format_size(memory.limit)} cannot hold "
            f"{weights[largest].label!r}: it takes {format_size(sizes[largest])} beside the "
            f"{format_size(memory.taken)} of the process itself",
            f"Set --memory-limit to at least {sufficient(least)}"
            if only
            else f"Set --memory-limit to at least {sufficient(least)}, "
            "or leave the tensor out with --exclude",
        )
    limit = max(memory.limit, least)
    return Plan(
        checkpoint=checkpoint,
        weights=weights,
        backend=backend,
        backend_reason=reason,
        config=replace(
            config,
            sample=str(sample),
            backend=backend.name,
            workers=config.workers or backend.default_workers,
            memory_limit=limit,
        ),
        aliases={} if checkpoint.files.is_remote or only else _aliases(weights, sampled),
        unsampled=left_out,
        columns=table_columns([metric.column for metric in metrics_of_level(config.metrics)]),
        sizes=sizes,
        budget=limit - memory.taken,
        solvers=eigen_solvers(weights[i].short for i in sampled if weights[i].has_spectrum),
    )


def _aliases(weights: Sequence[Weight], sampled: Sequence[int]) -> dict[int, int]:
    """The copies among the weights that are measured: no byte of another one is read."""
    copies = find_aliases([weights[i] for i in sampled])
    return {sampled[copy]: sampled[original] for copy, original in copies.items()}

"""What an analysis will do, before it does any of it."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase

import psutil

from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.config import SPECTRUM_MODES, AnalyzeConfig
from mlx_probe.checkpoint import Checkpoint, Weight, chunk_extent, find_aliases
from mlx_probe.compute import calibration
from mlx_probe.compute.backends import BACKENDS, Backend, choose_backend
from mlx_probe.compute.spectrum import sketch_bytes
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import METRIC_LEVELS, Column
from mlx_probe.core.units import format_size
from mlx_probe.core.version import __version__
from mlx_probe.metrics import metrics_of_level
from mlx_probe.runs.monitor import process_memory

__all__ = [
    "KEPT",
    "RESERVE",
    "Plan",
    "is_sketched",
    "make_plan",
    "select_weights",
    "sufficient",
    "working_set",
]

# Share of the free memory that a run takes when the user sets no limit.
DEFAULT_MEMORY_SHARE = 0.8

# Short side from which `--spectrum approx` approximates: below, the exact way is about as fast
# (on one core 0.7 s against 0.4 s at 2,048, 0.1 s against 0.2 s at 1,024).
SKETCHED_FROM = 2048

# What rows, tables and their writers take besides the weights in flight; pandas is most of it.
RESERVE = 80_000_000

# What the allocator keeps of a worker's memory, beside what its next weight takes.
KEPT = 16_000_000


@dataclass(frozen=True)
class Plan:
    """An analysis that is ready to start.

    Attributes:
        checkpoint: The opened model.
        weights: What is measured, in file order; a weight's position is its row's index.
        backend: What measures.
        backend_reason: Why that backend, in one sentence.
        config: The configuration with every automatic choice made.
        columns: Columns of the result table.
        aliases: Position of each weight that is a copy to that of the one it copies.
        sizes: Bytes of memory that each weight takes while it is measured.
        budget: Bytes that all weights in flight may take together.
        two_stage_from: Short side from which this machine solves by way of a band; None for
            never.
    """

    checkpoint: Checkpoint
    weights: tuple[Weight, ...]
    backend: Backend
    backend_reason: str
    config: AnalyzeConfig
    columns: tuple[Column, ...]
    aliases: Mapping[int, int]
    sizes: tuple[int, ...]
    budget: int
    two_stage_from: int | None

    @property
    def nbytes(self) -> int:
        """Bytes of the weights as stored; parts of fused ones do not count again."""
        return sum(weight.nbytes for weight in self.weights if weight.part is None)

    @property
    def read_bytes(self) -> int:
        """Bytes to read: parts are read with their whole and once more, copies not at all."""
        return sum(w.nbytes for i, w in enumerate(self.weights) if i not in self.aliases)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides a row's values; runs that share it can resume."""
        config = asdict(self.config)
        # These decide how fast a run is and what is checked after it, not what it computes;
        # what was asked of "device" matters less than what came of it.
        for name in ("workers", "memory_limit", "device"):
            del config[name]
        if self.config.spectrum == "exact" and self.config.metrics != "full":
            del config["seed"]
        files = self.checkpoint.files
        stats = [(path.name, path.stat()) for path in files.weights]
        identity = {
            "code_version": __version__,
            "config": config,
            "backend": self.backend.name,
            "device": self.backend.device,
            "two_stage_from": self.two_stage_from,
            "model": [str(files.path), files.model_id, files.revision],
            # Decides how packed and fused weights are understood.
            "model_config": dict(self.checkpoint.config),
            "files": [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats],
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def make_plan(checkpoint: Checkpoint, config: AnalyzeConfig, strict: bool = True) -> Plan:
    """Decide what to measure, with what, and how much of it at once.

    Args:
        checkpoint: The opened model; of one that is not on this disk copies are not found.
        config: What the user asked for.
        strict: Whether to refuse a memory limit that cannot hold the largest weight; otherwise
            it is raised.

    Raises:
        BackendError: This machine lacks the backend or device.
        ConfigError: A setting makes no sense, no tensor is selected, or the memory limit
            cannot hold the largest.
    """
    _refuse_nonsense(config)
    backend, reason = choose_backend(config.backend, config.device)
    weights = select_weights(checkpoint.weights(), config.include, config.exclude)
    sizes = tuple(working_set(weight, backend, config) for weight in weights)
    taken = process_memory() + RESERVE
    free = int(DEFAULT_MEMORY_SHARE * psutil.virtual_memory().available)
    limit = config.memory_limit or taken + free
    largest = max(range(len(weights)), key=lambda i: sizes[i])
    least = taken + sizes[largest]
    if least > limit and strict:
        raise ConfigError(
            f"a memory limit of {format_size(limit)} cannot hold {weights[largest].label!r}: it "
            f"takes {format_size(sizes[largest])} beside the {format_size(taken)} of the process "
            "itself",
            f"Set --memory-limit to at least {sufficient(least)}, "
            "or leave the tensor out with --exclude",
        )
    limit = max(limit, least)
    return Plan(
        checkpoint=checkpoint,
        weights=weights,
        backend=backend,
        backend_reason=reason,
        config=replace(
            config,
            backend=backend.name,
            workers=config.workers or backend.default_workers,
            memory_limit=limit,
        ),
        aliases={} if checkpoint.files.is_remote else find_aliases(weights),
        columns=table_columns([metric.column for metric in metrics_of_level(config.metrics)]),
        sizes=sizes,
        budget=limit - taken,
        two_stage_from=_two_stage_from(weights),
    )


def sufficient(least: int) -> str:
    """A memory limit that holds ``least`` bytes, and a little more: the next start differs."""
    return f"{math.ceil(1.05 * least / 1e6)} MB"


def _refuse_nonsense(config: AnalyzeConfig) -> None:
    # Comparisons with NaN are false: what is wrong is what does not hold.
    for name, holds, domain in (
        ("backend", config.backend in ("auto", *BACKENDS), f"auto, {', '.join(BACKENDS)}"),
        ("device", config.device in ("auto", "cpu", "gpu"), "auto, cpu, gpu"),
        ("metrics", config.metrics in METRIC_LEVELS, ", ".join(METRIC_LEVELS)),
        ("spectrum", config.spectrum in SPECTRUM_MODES, ", ".join(SPECTRUM_MODES)),
        ("rank_tol", 0 < config.rank_tol < 1, "above 0 and below 1"),
        ("zero_epsilon", 0 <= config.zero_epsilon < math.inf, "finite and not negative"),
        ("workers", config.workers >= 0, "0 or more"),
        ("memory_limit", config.memory_limit >= 0, "0 or more bytes"),
    ):
        if not holds:
            raise ConfigError(
                f"{name} cannot be {getattr(config, name)!r}", f"Choose a value: {domain}"
            )


def select_weights(
    weights: Sequence[Weight], include: Sequence[str], exclude: Sequence[str]
) -> tuple[Weight, ...]:
    """The weights whose names match a glob of ``include`` (all, if empty) and none of ``exclude``.

    Raises:
        ConfigError: None is left.
    """

    def wanted(name: str) -> bool:
        chosen = not include or any(fnmatchcase(name, glob) for glob in include)
        return chosen and not any(fnmatchcase(name, glob) for glob in exclude)

    selected = tuple(weight for weight in weights if wanted(weight.name))
    if not selected:
        names = list(dict.fromkeys(weight.name for weight in weights))
        if not names:
            raise ConfigError("the checkpoint holds no tensor", "Choose another")
        # Close to a whole name, or to a part of one between two dots.
        parts = dict.fromkeys(part for name in names for part in name.split("."))
        wanted_text = next(iter(include), "").strip("*")
        near = difflib.get_close_matches(wanted_text, [*names, *parts], n=1)
        raise ConfigError(
            f"no tensor is selected out of {len(names)}",
            f"Name tensors such as {(near or names)[0]!r}; `mlx-probe inspect` lists them",
        )
    return selected


def is_sketched(weight: Weight, config: AnalyzeConfig) -> bool:
    """Whether a weight's spectrum is approximated: small ones are exact as fast."""
    if config.spectrum == "exact" or not weight.has_spectrum:
        return False
    return weight.short >= SKETCHED_FROM


def _two_stage_from(weights: Sequence[Weight]) -> int | None:
    """Where this machine's calibration puts the limit; not asked for small matrices."""
    shorts = [weight.short for weight in weights if weight.has_spectrum]
    if max(shorts, default=0) < calibration.SMALLEST_TWO_STAGE:
        return None
    return calibration.two_stage_from()


def working_set(weight: Weight, backend: Backend, config: AnalyzeConfig) -> int:
    """Bytes that measuring a weight takes at most."""
    short = weight.short
    slab = short * min(weight.long, chunk_extent(short))
    itemsize = DTYPES[weight.chunk_dtype].itemsize if weight.problem is None else 0
    if is_sketched(weight, config):
        kept = 4 * weight.numel + sketch_bytes(short)
        return KEPT + weight.resident_bytes + backend.working_set(slab, itemsize, 0) + kept
    factorized = short if weight.has_spectrum else 0
    return KEPT + weight.resident_bytes + backend.working_set(slab, itemsize, factorized)

"""What a comparison will do, before it does any of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from mlx_probe.analysis.budget import memory_budget
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.pair import Pair
from mlx_probe.analysis.compare.pairing import pair_checkpoints
from mlx_probe.analysis.compare.scope import Scope, on_backend, scope_of
from mlx_probe.analysis.opening import describe_model
from mlx_probe.analysis.selection import select_weights
from mlx_probe.analysis.working_set import eigen_solvers
from mlx_probe.checkpoint import Checkpoint
from mlx_probe.compute import native
from mlx_probe.compute.backends import Backend, choose_backend
from mlx_probe.compute.solver_crossover import EigenSolvers
from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.core.units import format_size
from mlx_probe.core.version import __version__
from mlx_probe.runs.fingerprint import file_stamps, fingerprint_of

__all__ = ["ComparePlan", "make_plan"]


@dataclass(frozen=True)
class ComparePlan:
    """A comparison that is ready to start.

    Attributes:
        a: The first model.
        b: The second, or an adapter of the first.
        pairs: What is compared; a pair's position is its row's index.
        scopes: How much of each is computed.
        backend: Where elements are worked on.
        backend_reason: Why this backend, in one sentence.
        config: The configuration with every automatic choice made.
        budget: Bytes that all pairs in flight may take together.
        solvers: As for `singular_values`.
    """

    a: Checkpoint
    b: Checkpoint
    pairs: tuple[Pair, ...]
    scopes: tuple[Scope, ...]
    backend: Backend
    backend_reason: str
    config: CompareConfig
    budget: int
    solvers: EigenSolvers

    @property
    def title(self) -> str:
        """Both models, as the names of files have them."""
        return f"{self.a.files.model_id}--vs--{self.b.files.model_id}"

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of both sides of each pair as stored."""
        return tuple(
            sum(side.nbytes for side in (pair.a, pair.b) if side is not None) for pair in self.pairs
        )

    @property
    def numerics(self) -> dict[str, Any]:
        """What decides the last digits of a row, beside the configuration."""
        return {
            "backend": self.backend.name,
            "device": self.backend.device,
            "solvers": self.solvers.settings,
            "kernels": native.used(),
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides a row's values; may raise OSError."""
        return self.fingerprint_with(self.numerics)

    def fingerprint_with(self, numerics: Mapping[str, Any]) -> str:
        """The fingerprint if others compute the rows; may raise OSError.

        Args:
            numerics: What decides the last digits of a row there.
        """
        config = asdict(self.config)
        # The scopes say how much of each pair fits into the memory.
        # The device is in the numerics, as it was chosen.
        for name in ("workers", "memory_limit", "device"):
            del config[name]
        models = (self.a, self.b)
        return fingerprint_of(
            {
                "code_version": __version__,
                "config": config,
                "scopes": [asdict(scope) for scope in self.scopes],
                **numerics,
                "models": [describe_model(model) for model in models],
                "files": [file_stamps(model.files.weights) for model in models],
            }
        )


def make_plan(
    a: Checkpoint,
    b: Checkpoint,
    config: CompareConfig,
    strict: bool = True,
    decided: Sequence[Scope] | None = None,
) -> ComparePlan:
    """Decide what is compared, and how much of it at once.

    Args:
        a: The first model, or the base.
        b: The second, or an adapter of ``a``.
        config: What the user asked for.
        strict: Whether to refuse a memory limit that cannot hold two slabs of the largest pair;
            if not, the limit is raised.
        decided: How much of each pair is computed, if that does not depend on the memory here.

    Raises:
        BackendError: This machine lacks the backend or device.
        CheckpointError: No tensor has a counterpart of its shape, or the adapter changes none; or
            there are not as many pairs as ``decided``.
        ConfigError: No tensor is selected, or the memory limit cannot hold two slabs.
    """
    backend, reason = choose_backend(config.backend, config.device)
    pairs = pair_checkpoints(a, b)
    _refuse_strangers(a, b, pairs)
    chosen = set(map(id, select_weights([p.weight for p in pairs], config.include, config.exclude)))
    pairs = tuple(pair for pair in pairs if id(pair.weight) in chosen)
    memory = memory_budget(config.memory_limit)
    if decided is None:
        nothing = Scope(False, False, None, 0)
        scopes = tuple(
            nothing if pair.status else scope_of(pair, config, memory.tasks, backend)
            for pair in pairs
        )
    elif len(decided) == len(pairs):
        scopes = tuple(
            scope if pair.status else on_backend(scope, pair, config, backend)
            for pair, scope in zip(pairs, decided, strict=True)
        )
    else:
        raise CheckpointError(
            f"{a.files.model_id} and {b.files.model_id} make {len(pairs)} pairs of tensors, and "
            f"not {len(decided)}",
            "Copy both models again",
        )
    largest = max(range(len(pairs)), key=lambda i: scopes[i].nbytes)
    needed = memory.taken + scopes[largest].nbytes
    if needed > memory.limit and strict:
        raise ConfigError(
            f"a memory limit of {format_size(memory.limit)} cannot hold "
            f"{pairs[largest].weight.label!r}: reading it takes "
            f"{format_size(scopes[largest].nbytes)} beside the "
            f"{format_size(memory.taken)} of the process itself",
            f"Set --memory-limit to at least {format_size(round(1.05 * needed))}, or leave the "
            "tensor out with --exclude",
        )
    limit = max(memory.limit, needed)
    workers = config.workers or backend.default_workers
    return ComparePlan(
        a=a,
        b=b,
        pairs=pairs,
        scopes=scopes,
        backend=backend,
        backend_reason=reason,
        config=replace(config, backend=backend.name, workers=workers, memory_limit=limit),
        budget=limit - memory.taken,
        solvers=eigen_solvers(
            pair.weight.short for pair, scope in zip(pairs, scopes, strict=True) if scope.spectrum
        ),
    )


def _refuse_strangers(a: Checkpoint, b: Checkpoint, pairs: Sequence[Pair]) -> None:
    """Refuse two models of which nothing can be compared: every row would say so."""
    if b.adapter is not None and a.adapter is None:
        _refuse_foreign(a, b, pairs)
        return
    if any(pair.matched_by is not None and pair.status != "reshaped" for pair in pairs):
        return
    one, other = a.files.model_id, b.files.model_id
    reshaped = next((pair for pair in pairs if pair.status == "reshaped"), None)
    if reshaped is None:
        fact = f"{one} and {other} have nothing in common: no tensor matches by name or role"
    else:
        fact = (
            f"{one} and {other} have no tensor of one shape in common: "
            f"{reshaped.weight.label} is {reshaped.reason}"
        )
    raise CheckpointError(
        fact,
        "Analyze both, and compare what that recorded: mlx-probe compare-runs RUN_A RUN_B",
    )


def _refuse_foreign(base: Checkpoint, adapter: Checkpoint, pairs: Sequence[Pair]) -> None:
    """Refuse an adapter of another model: it changes no tensor of this one."""
    lost = [pair for pair in pairs if pair.a is None]
    changed = any(
        pair.a is not None and (pair.b is not None or pair.is_change_unknown) for pair in pairs
    )
    if lost and not changed:
        raise CheckpointError(
            f"{adapter.files.model_id} changes nothing of {base.files.model_id}: "
            f"{lost[0].reason} ({lost[0].weight.label})",
            "Name the base that the adapter was trained on",
        )

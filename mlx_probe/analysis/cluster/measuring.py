"""What the sessions of all jobs share: models of a worker, and the machine that measures them."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from threadpoolctl import threadpool_limits

from mlx_probe.analysis.cluster.copies import copy_digest
from mlx_probe.analysis.cluster.facts import local_choice
from mlx_probe.analysis.order import Task
from mlx_probe.analysis.stages import STAGES
from mlx_probe.runs.monitor import UsageMeter

if TYPE_CHECKING:
    from mlx_probe.analysis.cluster.copied_model import CopiedModel
    from mlx_probe.analysis.cluster.facts import WorkerFacts
    from mlx_probe.analysis.compare.config import CompareConfig
    from mlx_probe.analysis.compare.plan import ComparePlan
    from mlx_probe.analysis.config import AnalyzeConfig
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.checkpoint import Checkpoint
    from mlx_probe.compute.backends import Backend
    from mlx_probe.compute.solver_crossover import EigenSolvers
    from mlx_probe.core.records import Row

__all__ = [
    *("JobSession", "JobSetup", "Measure", "Planned", "numerics_of", "on_this_worker", "rows_of"),
]

_Plan = TypeVar("_Plan", "Plan", "ComparePlan")
_Config = TypeVar("_Config", "AnalyzeConfig", "CompareConfig")


class Planned(Protocol):
    """A plan of any job that a cluster can do."""

    @property
    def backend(self) -> Backend:
        """What computes on this machine."""

    @property
    def numerics(self) -> dict[str, Any]:
        """What decides the last digits of a row, beside the configuration."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides a row's values; may raise OSError."""

    def fingerprint_with(self, numerics: Mapping[str, Any]) -> str:
        """The fingerprint if others compute the rows."""


def numerics_of(plan: Planned) -> dict[str, Any]:
    """What decides the last digits of a plan's rows on this machine."""
    return {**plan.numerics, "system": platform.system(), "machine": platform.machine()}


@dataclass(frozen=True)
class Measure:
    """A unit of work: some weights, or pairs of them.

    Attributes:
        task: Positions of the weights, in batches.
        following: Positions of the weights that are likely to come next, to read ahead.
    """

    task: Task
    following: tuple[int, ...] = ()


@dataclass(frozen=True)
class JobSetup:
    """What a worker needs to take part in a job; see `Setup`.

    Attributes:
        token: Tells this job from others.
        models: The models.
        config: The configuration as the user gave it: "auto" is decided on the worker.
        solvers: The eigen-solvers of the client, for workers with the same libraries.
        numerics: The client's; see `numerics_of`.
        full_hash: Whether whole copies are hashed.
    """

    token: str
    models: tuple[CopiedModel, ...]
    config: AnalyzeConfig | CompareConfig
    solvers: EigenSolvers
    numerics: Mapping[str, Any]
    full_hash: bool

    @property
    def backend(self) -> str:
        """Key in `BACKENDS`, or "auto"."""
        return self.config.backend

    @property
    def device(self) -> str:
        """One of "auto", "cpu" and "gpu"."""
        return self.config.device

    def open_models(self, facts: WorkerFacts, name: str, stack: ExitStack) -> list[Checkpoint]:
        """Open the worker's copies.

        Args:
            facts: The worker.
            name: Its name.
            stack: Closes them.

        Raises:
            ProbeError: One is not there, or damaged.
        """
        return [stack.enter_context(model.open(facts.host, name)) for model in self.models]

    def with_solvers(self, plan: _Plan) -> _Plan:
        """A plan with the client's eigen-solvers, where libraries and processor are the same."""
        same = _libraries(numerics_of(plan)) == _libraries(self.numerics)
        return replace(plan, solvers=self.solvers) if same else plan


def on_this_worker(config: _Config) -> _Config:
    """A user's configuration as a worker follows it."""
    backend, device = local_choice(config.backend, config.device)
    return replace(config, backend=backend, device=device, workers=1, memory_limit=0)


class JobSession:
    """Models that a worker measures; see `Session`.

    Args:
        plan: The worker's plan.
        models: Its models.
        full_hash: Whether to hash them whole.
        content: See `Session`.
        sizes: See `Session`.
        stack: Closes the models.

    Raises:
        CheckpointError: A file cannot be read.
    """

    def __init__(
        self,
        plan: Planned,
        models: Sequence[Checkpoint],
        full_hash: bool,
        content: str,
        sizes: tuple[int, ...],
        stack: ExitStack,
    ) -> None:
        self.copies = tuple(copy_digest(model, full_hash) for model in models)
        self.content, self.sizes = content, sizes
        self.numerics: Mapping[str, Any] = numerics_of(plan)
        # As in a process by itself: one BLAS thread for each thread of the worker.
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        self.meter = stack.enter_context(UsageMeter(STAGES, plan.backend.device_memory))
        self._stack = stack.pop_all()

    def close(self) -> None:
        """Let the files go."""
        self._stack.close()


def rows_of(
    unit: Measure, prefetch: Callable[[int], None], measured: Callable[[tuple[int, ...]], list[Row]]
) -> list[Row]:
    """The rows of a unit.

    Args:
        unit: The unit.
        prefetch: Reads a weight ahead.
        measured: The rows of a batch.
    """
    for index in unit.following:
        prefetch(index)
    return list(chain.from_iterable(map(measured, unit.task)))


def _libraries(numerics: Mapping[str, Any]) -> tuple[Any, ...]:
    """What has to be the same for one choice of eigen-solvers to hold on two machines."""
    native = numerics["solvers"]["native"]
    return native, numerics["kernels"], numerics["system"], numerics["machine"]

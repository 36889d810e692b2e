"""The part of an analysis that runs on a worker."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from mlx_probe.analysis.cluster.copies import CopyDigest, copy_digest
from mlx_probe.analysis.cluster.facts import local_choice
from mlx_probe.analysis.measure import Measurer
from mlx_probe.analysis.order import Task
from mlx_probe.analysis.plan import Plan, make_plan
from mlx_probe.analysis.rows import measured_rows
from mlx_probe.analysis.side_tables import side_parts
from mlx_probe.analysis.stages import STAGES
from mlx_probe.core.records import Row
from mlx_probe.runs.monitor import UsageMeter

if TYPE_CHECKING:
    from mlx_probe.analysis.cluster.copied_model import CopiedModel
    from mlx_probe.analysis.cluster.facts import WorkerFacts
    from mlx_probe.analysis.cluster.session import Allowance
    from mlx_probe.analysis.config import AnalyzeConfig
    from mlx_probe.analysis.side_tables.side import SidePart, SideRow
    from mlx_probe.checkpoint import Weight
    from mlx_probe.compute.solver_crossover import EigenSolvers

__all__ = [
    *("AnalyzeSession", "AnalyzeSetup", "Measure", "MeasureSide", "content_of", "numerics_of"),
]


@dataclass(frozen=True)
class Measure:
    """A unit of work: some weights.

    Attributes:
        task: Positions of the weights, in batches.
        following: Positions of the weights that are likely to come next, to read ahead.
    """

    task: Task
    following: tuple[int, ...] = ()


@dataclass(frozen=True)
class MeasureSide:
    """A unit of work: a part of a side table.

    Attributes:
        key: Of the table.
        number: Of the part, from 0.
    """

    key: str
    number: int


@dataclass(frozen=True)
class AnalyzeSetup:
    """What a worker needs to take part in an analysis.

    Attributes:
        token: The fingerprint of the analysis.
        model: The model.
        config: The configuration as the user gave it: "auto" is decided on the worker.
        budget: Bytes that the client's weights in flight may take together. Parts of side tables
            never take more, so that they are those of a run on the client alone.
        solvers: The eigen-solvers of the client, for workers with the same libraries.
        numerics: The client's; see `numerics_of`.
        full_hash: Whether the whole copy is hashed.
    """

    token: str
    model: CopiedModel
    config: AnalyzeConfig
    budget: int
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

    def open(self, facts: WorkerFacts, name: str, allowed: Allowance) -> AnalyzeSession:
        """Open the model and plan its analysis.

        Args:
            facts: The worker.
            name: Its name.
            allowed: Its memory.

        Raises:
            ProbeError: The model is not there or damaged, or the backend is missing.
        """
        backend, device = local_choice(self.config.backend, self.config.device)
        config = replace(self.config, backend=backend, device=device, workers=1, memory_limit=0)
        checkpoint = self.model.open(facts.host, name)
        try:
            plan = make_plan(checkpoint, config, strict=False, only=_all)
            own = numerics_of(plan)
            if _libraries(own) == _libraries(self.numerics):
                plan = replace(plan, solvers=self.solvers)
            digest = copy_digest(checkpoint, self.full_hash)
            # 0 would be no limit.
            sides = side_parts(plan, max(1, min(self.budget, allowed.each)))
            return AnalyzeSession(plan, digest, sides)
        except BaseException:
            checkpoint.close()
            raise


class AnalyzeSession:
    """A model that a worker measures; see `Session`.

    Args:
        plan: The worker's plan, whose weights are those of the client's plan.
        digest: Of its copy.
        sides: The parts of its side tables, as far as the worker's memory allows.
    """

    def __init__(
        self, plan: Plan, digest: CopyDigest, sides: Mapping[str, Sequence[SidePart]]
    ) -> None:
        self._plan, self._sides, self._stack = plan, sides, ExitStack()
        self.copies: tuple[CopyDigest, ...] = (digest,)
        self.content = content_of(plan.weights)
        self.numerics: Mapping[str, Any] = numerics_of(plan)
        parts = chain.from_iterable(sides.values())
        self.sizes = (*plan.sizes, *(part.nbytes for part in parts))
        self.meter = self._stack.enter_context(UsageMeter(STAGES, plan.backend.device_memory))
        self._stack.callback(plan.checkpoint.close)
        # As in a process by itself: one BLAS thread for each thread of the worker.
        self._stack.enter_context(threadpool_limits(1, user_api="blas"))
        self._measurer = Measurer(plan, self.meter)

    def run(self, unit: Measure | MeasureSide) -> list[Row] | list[SideRow]:
        """Measure the weights of a unit, one row for each; or make a part of a side table.

        Raises:
            CheckpointError: A file changed or vanished while it was read.
        """
        if isinstance(unit, MeasureSide):
            with self.meter.stage("sides"):
                return list(self._sides[unit.key][unit.number].rows(1))
        for index in unit.following:
            self._plan.weights[index].prefetch()
        return list(chain.from_iterable(self._rows(unit.task)))

    def close(self) -> None:
        """Let the files go."""
        self._stack.close()

    def _rows(self, task: Task) -> Iterator[list[Row]]:
        for batch in task:
            yield measured_rows(self._plan, self._measurer, self.meter, batch)


def numerics_of(plan: Plan) -> dict[str, Any]:
    """What decides the last digits of a plan's rows on this machine."""
    return {**plan.numerics, "system": platform.system(), "machine": platform.machine()}


def _libraries(numerics: Mapping[str, Any]) -> tuple[Any, ...]:
    """What has to be the same for one choice of eigen-solvers to hold on two machines."""
    native = numerics["solvers"]["native"]
    return native, numerics["kernels"], numerics["system"], numerics["machine"]


def content_of(weights: Iterable[Weight]) -> str:
    """SHA-256 of the names and shapes of weights, in their order, in hex."""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(f"{weight.label!a} {weight.shape!a} {weight.dtype!a}\n".encode("ascii"))
    return digest.hexdigest()


def _all(weight: Weight) -> bool:
    return True

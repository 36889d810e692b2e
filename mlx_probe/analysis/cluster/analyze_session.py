"""The part of an analysis that runs on a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from mlx_probe.analysis.cluster.measuring import (
    JobSession,
    JobSetup,
    Measure,
    on_this_worker,
    rows_of,
)
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.measure import Measurer
from mlx_probe.analysis.plan import Plan, make_plan
from mlx_probe.analysis.rows import measured_rows
from mlx_probe.analysis.side_tables import side_parts

if TYPE_CHECKING:
    from mlx_probe.analysis.cluster.facts import WorkerFacts
    from mlx_probe.analysis.cluster.session import Allowance
    from mlx_probe.analysis.side_tables.side import SidePart, SideRow
    from mlx_probe.checkpoint import Weight
    from mlx_probe.core.records import Row

__all__ = ["AnalyzeSession", "AnalyzeSetup", "MeasureSide", "content_of"]


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
class AnalyzeSetup(JobSetup):
    """What a worker needs to take part in an analysis.

    Attributes:
        budget: Bytes that the client's weights in flight may take together. Parts of side tables
            never take more, so that they are those of a run on the client alone.
    """

    config: AnalyzeConfig
    budget: int

    def open(self, facts: WorkerFacts, name: str, allowed: Allowance) -> AnalyzeSession:
        """Open the model and plan its analysis.

        Args:
            facts: The worker.
            name: Its name.
            allowed: Its memory.

        Raises:
            ProbeError: The model is not there or damaged, or the backend is missing.
        """
        with ExitStack() as stack:
            (checkpoint,) = self.open_models(facts, name, stack)
            plan = make_plan(checkpoint, on_this_worker(self.config), strict=False, only=_all)
            # 0 would be no limit.
            sides = side_parts(plan, max(1, min(self.budget, allowed.each)))
            return AnalyzeSession(self.with_solvers(plan), sides, self.full_hash, stack)


class AnalyzeSession(JobSession):
    """A model that a worker measures; see `Session`.

    Args:
        plan: The worker's plan, whose weights are those of the client's plan.
        sides: The parts of its side tables, as far as the worker's memory allows.
        full_hash: Whether to hash the whole copy.
        stack: Closes the model.
    """

    def __init__(
        self,
        plan: Plan,
        sides: Mapping[str, Sequence[SidePart]],
        full_hash: bool,
        stack: ExitStack,
    ) -> None:
        parts = chain.from_iterable(sides.values())
        sizes = (*plan.sizes, *(part.nbytes for part in parts))
        content = content_of(plan.weights)
        super().__init__(plan, (plan.checkpoint,), full_hash, content, sizes, stack)
        self._plan, self._sides = plan, sides
        self._measurer = Measurer(plan, self.meter)

    def run(self, unit: Measure | MeasureSide) -> list[Row] | list[SideRow]:
        """Measure the weights of a unit, one row for each; or make a part of a side table.

        Raises:
            CheckpointError: A file changed or vanished while it was read.
        """
        if isinstance(unit, MeasureSide):
            with self.meter.stage("sides"):
                return list(self._sides[unit.key][unit.number].rows(1))
        return rows_of(unit, self._prefetch, self._rows)

    def _prefetch(self, index: int) -> None:
        self._plan.weights[index].prefetch()

    def _rows(self, batch: tuple[int, ...]) -> list[Row]:
        return measured_rows(self._plan, self._measurer, self.meter, batch)


def content_of(weights: Iterable[Weight]) -> str:
    """SHA-256 of the names and shapes of weights, in their order, in hex."""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(f"{weight.label!a} {weight.shape!a} {weight.dtype!a}\n".encode("ascii"))
    return digest.hexdigest()


def _all(weight: Weight) -> bool:
    return True

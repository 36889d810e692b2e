"""The part of a comparison that runs on a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_probe.analysis.cluster.measuring import (
    JobSession,
    JobSetup,
    Measure,
    on_this_worker,
    rows_of,
)
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.measure import PairMeasurer
from mlx_probe.analysis.compare.plan import ComparePlan, make_plan
from mlx_probe.analysis.compare.rows import measured_rows, prefetch
from mlx_probe.analysis.compare.scope import Scope

if TYPE_CHECKING:
    from mlx_probe.analysis.cluster.facts import WorkerFacts
    from mlx_probe.analysis.cluster.session import Allowance
    from mlx_probe.analysis.compare.pair import Pair
    from mlx_probe.checkpoint import Weight
    from mlx_probe.core.records import Row

__all__ = ["CompareSession", "CompareSetup", "content_of"]


@dataclass(frozen=True)
class CompareSetup(JobSetup):
    """What a worker needs to take part in a comparison; its models are A and B.

    Attributes:
        scopes: How much of each pair is computed: the client's memory limit decides it.
    """

    config: CompareConfig
    scopes: tuple[Scope, ...]

    def open(self, facts: WorkerFacts, name: str, allowed: Allowance) -> CompareSession:
        """Open both models and pair their weights.

        Args:
            facts: The worker.
            name: Its name.
            allowed: Its memory.

        Raises:
            ProbeError: A model is not there or damaged, or the backend is missing.
        """
        with ExitStack() as stack:
            a, b = self.open_models(facts, name, stack)
            config = on_this_worker(self.config)
            plan = make_plan(a, b, config, strict=False, decided=self.scopes)
            return CompareSession(self.with_solvers(plan), self.full_hash, stack)


class CompareSession(JobSession):
    """Two models that a worker compares; see `Session`.

    Args:
        plan: The worker's plan, whose pairs are those of the client's plan.
        full_hash: Whether to hash whole copies.
        stack: Closes the models.
    """

    def __init__(self, plan: ComparePlan, full_hash: bool, stack: ExitStack) -> None:
        sizes = tuple(scope.nbytes for scope in plan.scopes)
        super().__init__(plan, (plan.a, plan.b), full_hash, content_of(plan.pairs), sizes, stack)
        self._plan = plan
        self._measurer = PairMeasurer(plan.config, self.meter, plan.backend, plan.solvers)

    def run(self, unit: Measure) -> list[Row]:
        """Measure the pairs of a unit, one row for each.

        Raises:
            CheckpointError: A file changed or vanished while it was read.
        """
        return rows_of(unit, self._prefetch, self._rows)

    def _prefetch(self, index: int) -> None:
        prefetch(self._plan.pairs[index])

    def _rows(self, batch: tuple[int, ...]) -> list[Row]:
        return measured_rows(self._plan, self._measurer, batch)


def content_of(pairs: Iterable[Pair]) -> str:
    """SHA-256 of what pairs are made of, in their order, in hex."""
    digest = hashlib.sha256()
    for pair in pairs:
        fields = (
            *(_side(pair.a), _side(pair.b), pair.matched_by, pair.status, pair.reason),
            *(pair.interleaved_a, pair.interleaved_b, pair.adaption is not None),
        )
        digest.update(f"{fields!a}\n".encode("ascii"))
    return digest.hexdigest()


def _side(weight: Weight | None) -> tuple[object, ...]:
    return () if weight is None else (weight.label, weight.shape, weight.dtype)

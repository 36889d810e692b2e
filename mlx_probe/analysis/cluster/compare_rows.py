"""A comparison, measured by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlx_probe.analysis.cluster.compare_session import CompareSetup, content_of
from mlx_probe.analysis.cluster.copied_model import copied_model
from mlx_probe.analysis.cluster.copies import copy_digest
from mlx_probe.analysis.cluster.fleet import Expected
from mlx_probe.analysis.cluster.measuring import numerics_of
from mlx_probe.analysis.cluster.run import (
    ClusterRun,
    given_up,
    opened_fleet,
    refuse_workers,
    token_of,
)
from mlx_probe.analysis.cluster.units import as_units
from mlx_probe.analysis.compare.order import pair_order, work_of
from mlx_probe.analysis.compare.rows import row_of

if TYPE_CHECKING:
    from mlx_probe.analysis.cluster.config import ClusterConfig
    from mlx_probe.analysis.cluster.dispatch import Unit
    from mlx_probe.analysis.cluster.fleet import Fleet
    from mlx_probe.analysis.compare.config import CompareConfig
    from mlx_probe.analysis.compare.plan import ComparePlan
    from mlx_probe.checkpoint import Weight
    from mlx_probe.core.records import Row
    from mlx_probe.runs.monitor import UsageMeter

__all__ = ["CompareRun", "compare_run"]


class CompareRun(ClusterRun):
    """A comparison and the fleet that measures it.

    Args:
        plan: The client's plan.
        fleet: The workers, which have opened their copies.
        config: The cluster.
    """

    def __init__(self, plan: ComparePlan, fleet: Fleet, config: ClusterConfig) -> None:
        super().__init__(plan, fleet, config)
        self._plan = plan

    def rows(
        self,
        finished: Collection[int],
        meter: UsageMeter,
        on_start: Callable[[Weight], None],
        warn: Callable[[str], None],
    ) -> Iterator[list[Row]]:
        """Measure every pair of the plan that is not finished; see `compare_rows`.

        Args:
            finished: Positions of pairs whose rows are there already.
            meter: Counts what the stages take on the workers.
            on_start: Called with a pair's weight before a worker gets it.
            warn: Called with what happens to workers.

        Yields:
            Rows that a worker measured together.

        Raises:
            ClusterError: There is no worker, or one failed.
            Stopped: The monitor's gate is closed for good.
        """
        plan = self._plan

        def start(unit: Unit) -> None:
            on_start(plan.pairs[unit.sizes[0]].weight)

        units = as_units(
            [task for task, _ in pair_order(plan, finished)],
            self.threads,
            lambda index: plan.pairs[index].weight.label,
            lambda index: work_of(plan.pairs[index]),
            self.one_host,
        )
        for unit, measured in self.results(units, meter, start, warn):
            if measured is None:
                failed = {"status": "failed", "status_reason": given_up(unit)}
                yield [row_of(plan, unit.sizes[0], failed)]
            else:
                yield measured


@contextmanager
def compare_run(
    plan: ComparePlan, asked: CompareConfig, config: ClusterConfig
) -> Iterator[CompareRun]:
    """Let the workers of a cluster open their copies of a plan's two models.

    Args:
        plan: The client's plan.
        asked: The configuration before automatic choices were made.
        config: The cluster.

    Raises:
        ConfigError: Dask is not installed, or a number of workers is asked for.
        ClusterError: The scheduler does not answer, or workers may not take part.
        CheckpointError: A file of a model cannot be read.
    """
    refuse_workers(asked.workers)
    models = (
        copied_model(plan.a, config.model_paths, "--a-on-workers"),
        copied_model(plan.b, config.other_model_paths, "--b-on-workers"),
    )
    setup = CompareSetup(
        token=token_of(plan, plan.budget, config),
        models=models,
        config=asked,
        scopes=plan.scopes,
        solvers=plan.solvers,
        numerics=numerics_of(plan),
        full_hash=config.full_hash,
    )
    expected = Expected(
        models=models,
        copies=tuple(copy_digest(model, config.full_hash) for model in (plan.a, plan.b)),
        content=content_of(plan.pairs),
        backend=asked.backend,
        labels=lambda index: plan.pairs[index].weight.label,
        needed=range(len(plan.pairs)),
    )
    with opened_fleet(setup, expected, config, plan.budget) as fleet:
        yield CompareRun(plan, fleet, config)

"""An analysis, measured by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from mlx_probe.analysis.cluster.analyze_session import AnalyzeSetup, MeasureSide, content_of
from mlx_probe.analysis.cluster.copied_model import copied_model
from mlx_probe.analysis.cluster.copies import copy_digest
from mlx_probe.analysis.cluster.dispatch import Unit
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
from mlx_probe.analysis.measure import Outcome
from mlx_probe.analysis.order import work_of, work_order
from mlx_probe.analysis.rows import copied_row, row_of
from mlx_probe.analysis.side_tables import side_parts, tables_of
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import Row

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.analysis.cluster.config import ClusterConfig
    from mlx_probe.analysis.cluster.fleet import Fleet
    from mlx_probe.analysis.config import AnalyzeConfig
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.analysis.side_tables.side import SidePart, SideRow
    from mlx_probe.checkpoint import Weight
    from mlx_probe.runs.monitor import UsageMeter

__all__ = ["AnalyzeRun", "cluster_run", "units_of"]


class AnalyzeRun(ClusterRun):
    """An analysis and the fleet that measures it.

    Args:
        plan: The client's plan.
        fleet: The workers, which have opened their copies.
        config: The cluster.
    """

    def __init__(self, plan: Plan, fleet: Fleet, config: ClusterConfig) -> None:
        super().__init__(plan, fleet, config)
        self._plan = plan

    def rows(
        self,
        finished: Mapping[int, Row],
        meter: UsageMeter,
        on_start: Callable[[Weight], None],
        warn: Callable[[str], None],
    ) -> Iterator[list[Row]]:
        """Measure every weight of the plan that is not finished; see `analyze_rows`.

        Args:
            finished: Rows of an earlier process, by index.
            meter: Counts what the stages take on the workers.
            on_start: Called with each weight before a worker gets it.
            warn: Called with what happens to workers.

        Yields:
            Rows that a worker measured together. Copies of other weights come last.

        Raises:
            ClusterError: There is no worker, or one failed.
            Stopped: The monitor's gate is closed for good.
        """
        plan = self._plan
        copies = {i: of for i, of in plan.aliases.items() if i not in finished}
        wanted = set(copies.values())
        originals = {of: finished[of] for of in wanted if of in finished}

        def start(unit: Unit) -> None:
            on_start(plan.weights[unit.sizes[0]])

        units = units_of(plan, finished, self.threads, self.one_host)
        for unit, measured in self.results(units, meter, start, warn):
            if measured is None:
                rows = [row_of(plan, unit.sizes[0], Outcome("failed", given_up(unit)))]
            else:
                rows = [self._as_here(row) for row in measured]
            originals.update((row.index, row) for row in rows if row.index in wanted)
            yield rows
        for index, of in copies.items():
            on_start(plan.weights[index])
            yield [copied_row(plan, index, originals[of])]

    def side_tables(self, meter: UsageMeter, warn: Callable[[str], None]) -> dict[str, pa.Table]:
        """The tables beside the rows; see `side_tables.side_tables`.

        A part is computed within the memory of its worker, and never with more than the client
        would have for it: its rows are those of a run on the client alone unless a worker has
        less memory than they take there.

        Args:
            meter: Counts what they take on the workers.
            warn: Called with what happens to workers.

        Raises:
            ClusterError: There is no worker, or one failed.
            Stopped: The monitor's gate is closed for good.
        """
        plan = self._plan
        parts = side_parts(plan, plan.budget)
        rows: dict[str, list[Sequence[SideRow]]] = {k: [()] * len(v) for k, v in parts.items()}
        for unit, made in self.results(_side_units(plan, parts), meter, lambda _: None, warn):
            key, number = unit.payload.key, unit.payload.number
            failed = parts[key][number].failed
            rows[key][number] = failed(given_up(unit)) if made is None else made
        return tables_of({key: list(chain.from_iterable(each)) for key, each in rows.items()})

    def _as_here(self, row: Row) -> Row:
        """A worker's row with the path that the model has here."""
        files = self._plan.checkpoint.files
        here = {
            "model_path": str(files.path),
            "model_id": files.model_id,
            "revision": files.revision,
        }
        return replace(row, values={**row.values, **here})


@contextmanager
def cluster_run(plan: Plan, asked: AnalyzeConfig, config: ClusterConfig) -> Iterator[AnalyzeRun]:
    """Let the workers of a cluster open their copies of a plan's model.

    Args:
        plan: The client's plan.
        asked: The configuration before automatic choices were made.
        config: The cluster.

    Raises:
        ConfigError: Dask is not installed, or a setting is not for a cluster or one model.
        ClusterError: The scheduler does not answer, or workers may not take part.
        CheckpointError: A file of the model cannot be read.
    """
    refuse_workers(asked.workers)
    if config.other_model_paths:
        raise ConfigError(
            "an analysis has one model",
            "Give its place on the workers by model_paths, and leave other_model_paths out",
        )
    models = (copied_model(plan.checkpoint, config.model_paths),)
    setup = AnalyzeSetup(
        token=token_of(plan, plan.budget, config),
        models=models,
        config=asked,
        budget=plan.budget,
        solvers=plan.solvers,
        numerics=numerics_of(plan),
        full_hash=config.full_hash,
    )
    expected = Expected(
        models=models,
        copies=(copy_digest(plan.checkpoint, config.full_hash),),
        content=content_of(plan.weights),
        backend=asked.backend,
        labels=lambda index: plan.weights[index].label,
        needed=list(chain.from_iterable(chain.from_iterable(t for t, _ in work_order(plan, ())))),
    )
    with opened_fleet(setup, expected, config, plan.budget) as fleet:
        yield AnalyzeRun(plan, fleet, config)


def units_of(
    plan: Plan, finished: Mapping[int, Row], threads: int, one_host: bool = True
) -> list[Unit]:
    """The rest of a plan as units, the longest first.

    Args:
        plan: The plan.
        finished: Rows of finished weights, by position.
        threads: Tasks that all workers run at once.
        one_host: See `as_units`.
    """
    return as_units(
        [task for task, _ in work_order(plan, finished)],
        threads,
        lambda index: plan.weights[index].label,
        lambda index: work_of(plan.weights[index]),
        one_host,
    )


def _side_units(plan: Plan, parts: Mapping[str, Sequence[SidePart]]) -> list[Unit]:
    """The parts of the side tables as units, the longest first."""
    numbered = [(key, *each) for key, side in parts.items() for each in enumerate(side)]
    # The sizes of parts come after those of the weights.
    units = [
        Unit(MeasureSide(key, number), part.name, sizes=(size,), work=part.work)
        for size, (key, number, part) in enumerate(numbered, start=len(plan.weights))
    ]
    return sorted(units, key=lambda unit: -unit.work)

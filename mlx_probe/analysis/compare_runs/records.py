"""The table of several runs, as records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mlx_probe.core.notebook import card

__all__ = ["Bins", "ComparedRun", "Difference", "Group", "RunsTable", "TableMetric"]

# A median for each bin of relative depth; None where a run has no layer or no number there.
Bins = tuple[float | None, ...]


@dataclass(frozen=True, order=True)
class Group:
    """Tensors whose medians are taken together.

    Attributes:
        by: "all", "component" or "block_type".
        name: Which: "attention", "q_proj", "q_proj bias" ...; "layers" for all.
    """

    by: str
    name: str


@dataclass(frozen=True)
class TableMetric:
    """One metric of the table.

    Attributes:
        name: A column of the runs' tables, or a number of their summaries.
        source: "median" for a column, whose number for a run is the median over the run's
            matrices; "summary" for a number of the summaries.
        unit: Of the column; "" for none.
        marked_by: Settings that differ between the runs and change what this metric means.
    """

    name: str
    source: Literal["summary", "median"]
    unit: str = ""
    marked_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class ComparedRun:
    """One run of the table.

    Attributes:
        path: Its run_meta.json, or what the user named if it cannot be read.
        label: A name that no other run of the table has.
        model: Id of the model.
        revision: Of the model.
        created_at: When the run ended, ISO 8601.
        layers: Layers of the model; 0 if it has none.
        settings: What decided the numbers, by name; see `settings.SETTINGS`.
        differs: Settings whose value is not that of most runs, of more than half.
        values: The run's number for each metric; None if it has none.
        profiles: For each metric and group the medians over relative depth.
        problem: Why the run cannot be read; "" if it can.
        remedy: What to do about that.
    """

    path: str
    label: str
    model: str = ""
    revision: str = ""
    created_at: str = ""
    layers: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    differs: tuple[str, ...] = ()
    values: Mapping[str, float | None] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[Group, Bins]] = field(default_factory=dict)
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Difference:
    """A setting with more than one value among the runs.

    Attributes:
        setting: Its name.
        values: Each value as text, with the labels of the runs that have it, the most frequent
            first.
        meaning: What it means for the numbers, one sentence.
        metrics: Metrics of the table whose numbers are not comparable because of it.
    """

    setting: str
    values: tuple[tuple[str, tuple[str, ...]], ...]
    meaning: str
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class RunsTable:
    """Any number of finished runs side by side.

    Attributes:
        runs: Sorted; those without the number come after the others, and those that cannot be
            read last.
        metrics: Chosen metrics, in the order of choice.
        groups: Groups of at least one run, in the order of first occurrence.
        bins: Number of bins of relative depth.
        sort: What the runs are sorted by: a metric, "run" or "created_at".
        ascending: Whether the smallest comes first.
        differences: Settings that differ.
        reference: Path of the run that all numbers were divided by; None for plain numbers.
    """

    runs: tuple[ComparedRun, ...]
    metrics: tuple[TableMetric, ...]
    groups: tuple[Group, ...]
    bins: int
    sort: str
    ascending: bool
    differences: tuple[Difference, ...]
    reference: str | None = None

    @property
    def readable(self) -> tuple[ComparedRun, ...]:
        """The runs that could be read."""
        return tuple(run for run in self.runs if not run.problem)

    def profile_groups(self, metric: str) -> list[Group]:
        """Groups in which a run has a number of this metric over the layers."""
        return [
            group
            for group in self.groups
            if any(
                value is not None
                for run in self.runs
                for value in run.profiles.get(metric, {}).get(group, ())
            )
        ]

    def __repr__(self) -> str:
        names = ", ".join(metric.name for metric in self.metrics[:4])
        return f"<{self._title}; {names}{' ...' if len(self.metrics) > 4 else ''}>"

    @property
    def _title(self) -> str:
        count = len(self.readable)
        return f"1 run by {self.sort}" if count == 1 else f"{count} runs by {self.sort}"

    def _repr_html_(self) -> str:
        """The runs with their numbers, for notebooks."""
        names = [metric.name for metric in self.metrics]

        def numbers(run: ComparedRun) -> str:
            known = ((name, run.values.get(name)) for name in names)
            return ", ".join(f"{name} {value:.4g}" for name, value in known if value is not None)

        lines = {run.label: run.problem or numbers(run) for run in self.runs}
        differing = [(each.setting, each.meaning) for each in self.differences]
        return card(self._title, lines, differing)

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values; numbers that JSON does not have are None.

        The keys are documented in docs/en/compare-runs.md.
        """
        return {
            "sort": self.sort,
            "ascending": self.ascending,
            "bins": self.bins,
            "reference": self.reference,
            "metrics": [
                {
                    "name": metric.name,
                    "source": metric.source,
                    "unit": metric.unit,
                    "marked_by": list(metric.marked_by),
                }
                for metric in self.metrics
            ],
            "runs": [_run_json(run) for run in self.runs],
            "profiles": [
                {
                    "metric": metric.name,
                    "by": group.by,
                    "group": group.name,
                    "values": [
                        None if line is None else [_finite(value) for value in line]
                        for run in self.runs
                        for line in [run.profiles.get(metric.name, {}).get(group)]
                    ],
                }
                for metric in self.metrics
                for group in self.profile_groups(metric.name)
            ],
            "differences": [
                {
                    "setting": difference.setting,
                    "values": [
                        {"value": value, "runs": list(labels)}
                        for value, labels in difference.values
                    ],
                    "meaning": difference.meaning,
                    "metrics": list(difference.metrics),
                }
                for difference in self.differences
            ],
        }


def _run_json(run: ComparedRun) -> dict[str, Any]:
    return {
        "run": run.path,
        "label": run.label,
        "model": run.model,
        "revision": run.revision,
        "created_at": run.created_at,
        "layers": run.layers,
        "settings": dict(run.settings),
        "differs": list(run.differs),
        "values": {name: _finite(value) for name, value in run.values.items()},
        "problem": run.problem or None,
        "remedy": run.remedy or None,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None

"""Runs side by side: configurations, metrics, environments, inputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from mlx_probe.library.experiments.directions import DIRECTIONS, direction_of
from mlx_probe.library.experiments.records import StoredRun
from mlx_probe.runs.experiments.records import Value

__all__ = ["Comparison", "Difference", "Pair", "compare_runs_of", "diff_runs"]

_Any = TypeVar("_Any")
# Bytes. Real metadata has a few hundred kilobytes.
_MOST = 64 << 20


@dataclass(frozen=True)
class Comparison:
    """Runs side by side; every tuple has a value for each run, None where it has none.

    Attributes:
        runs: The runs.
        differing: Settings that not all of them share, by key.
        same: Settings that all of them share.
        metrics: Final numbers by name, those that say most first.
    """

    runs: tuple[StoredRun, ...]
    differing: Mapping[str, tuple[Value, ...]]
    same: Mapping[str, Value]
    metrics: Mapping[str, tuple[float | None, ...]]

    def describe(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "runs": [_head(run) for run in self.runs],
            "differing": {key: list(values) for key, values in self.differing.items()},
            "same": dict(self.same),
            "metrics": {name: list(values) for name, values in self.metrics.items()},
        }


@dataclass(frozen=True)
class Pair:
    """Something in which two runs differ.

    Attributes:
        name: Key of a setting, role of an input, name of a metric ...
        a: Its value in the first run; None if it has none.
        b: Its value in the second.
        better: Of a metric, the run that is better: "a" or "b"; "" if nobody can say.
    """

    name: str
    a: Value
    b: Value
    better: str = ""


@dataclass(frozen=True)
class Difference:
    """How two runs differ.

    Attributes:
        a: The first run.
        b: The second run.
        config: Settings.
        environment: Version, code, command, packages, machine.
        inputs: What they came from.
        metrics: Final numbers.
        same: Number of values that are equal, by the names of the four parts.
    """

    a: StoredRun
    b: StoredRun
    config: tuple[Pair, ...]
    environment: tuple[Pair, ...]
    inputs: tuple[Pair, ...]
    metrics: tuple[Pair, ...]
    same: Mapping[str, int]

    def describe(self) -> dict[str, Any]:
        """Everything, for JSON."""

        def plain(pairs: Iterable[Pair]) -> list[dict[str, Value]]:
            return [{"name": pair.name, "a": pair.a, "b": pair.b} for pair in pairs]

        return {
            "a": _head(self.a),
            "b": _head(self.b),
            "config": plain(self.config),
            "environment": plain(self.environment),
            "inputs": plain(self.inputs),
            "metrics": [
                {**entry, "better": pair.better}
                for entry, pair in zip(plain(self.metrics), self.metrics, strict=True)
            ],
            "same": dict(self.same),
        }


def compare_runs_of(runs: Sequence[StoredRun]) -> Comparison:
    """Configurations and metrics of runs side by side.

    Args:
        runs: In the order to show; of any kinds.
    """
    config = _aligned([run.config for run in runs])
    differing = {key: values for key, values in config.items() if not _alike(values)}
    metrics = _aligned([run.metrics for run in runs])
    return Comparison(
        runs=tuple(runs),
        differing=differing,
        same={key: values[0] for key, values in config.items() if key not in differing},
        metrics={name: metrics[name] for name in _ordered(metrics)},
    )


def diff_runs(a: StoredRun, b: StoredRun) -> Difference:
    """What differs between two runs.

    Args:
        a: A run.
        b: Another one. What its metadata say of packages is read now, if it is still there.
    """
    metrics = _aligned([a.metrics, b.metrics])
    parts: dict[str, Mapping[str, tuple[Value, ...]]] = {
        "config": _aligned([a.config, b.config]),
        "environment": _aligned([_environment(a), _environment(b)]),
        "inputs": _aligned([_inputs(a), _inputs(b)]),
        "metrics": {name: metrics[name] for name in _ordered(metrics)},
    }
    pairs = {
        part: tuple(
            Pair(name, values[0], values[1])
            for name, values in aligned.items()
            if not _alike(values)
        )
        for part, aligned in parts.items()
    }
    better = (replace(pair, better=_better(pair)) for pair in pairs["metrics"])
    return Difference(
        a,
        b,
        config=pairs["config"],
        environment=pairs["environment"],
        inputs=pairs["inputs"],
        metrics=tuple(better),
        same={part: len(aligned) - len(pairs[part]) for part, aligned in parts.items()},
    )


def _head(run: StoredRun) -> dict[str, Any]:
    """What identifies a run in a comparison."""
    return {
        "id": run.id,
        "kind": run.kind,
        "name": run.name,
        "state": run.state,
        "created_at": run.created_at,
        "folder": str(run.folder),
    }


def _aligned(of: Sequence[Mapping[str, _Any]]) -> dict[str, tuple[_Any | None, ...]]:
    """The values of each key in every mapping, keys in the order in which they come first."""
    keys = dict.fromkeys(key for values in of for key in values)
    return {key: tuple(values.get(key) for values in of) for key in keys}


def _alike(values: Sequence[object]) -> bool:
    """Whether all are the same: true is not 1."""
    first = values[0]
    return all(value == first and (value is True) is (first is True) for value in values) and (
        len({isinstance(value, bool) for value in values}) == 1
    )


def _ordered(metrics: Iterable[str]) -> list[str]:
    """Those that say most first."""
    order = {name: at for at, name in enumerate(DIRECTIONS)}
    return sorted(metrics, key=lambda name: order.get(name, len(order)))


def _better(pair: Pair) -> str:
    """Which run is better by a metric."""
    direction = direction_of(pair.name)
    if not direction or not isinstance(pair.a, float) or not isinstance(pair.b, float):
        return ""
    return "a" if (pair.a < pair.b) is (direction == "min") else "b"


def _inputs(run: StoredRun) -> dict[str, str]:
    """What a run came from, by role; several of one role are numbered."""
    found: dict[str, str] = {}
    for given in run.inputs:
        role = name = given.get("role", "")
        number = 2
        while name in found:
            name, number = f"{role} {number}", number + 1
        identity = given.get("revision") or given.get("sha256", "")[:12] or given.get("path", "")
        found[name] = f"{given.get('name', '')} ({identity})" if identity else given.get("name", "")
    return found


def _environment(run: StoredRun) -> dict[str, Value]:
    """Version, code and command, and what the metadata say of packages and machine."""
    from mlx_probe.runs.experiments.values import flat, mapping

    known: dict[str, Value] = {
        "version": run.facts.get("version", ""),
        "code": run.facts.get("code", ""),
        "command": " ".join(map(str, run.facts.get("command", []))),
        "working_folder": run.facts.get("working_folder", ""),
    }
    described = flat(mapping(_meta(run.marker).get("environment")))
    return {name: value for name, value in {**known, **described}.items() if value != ""}


def _meta(marker: Path) -> Mapping[str, Any]:
    try:
        if marker.suffix != ".json" or not marker.is_file() or marker.stat().st_size > _MOST:
            return {}
        meta = json.loads(marker.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return meta if isinstance(meta, dict) else {}

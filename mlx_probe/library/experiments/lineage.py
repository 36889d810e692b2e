"""Which run came from which checkpoint, data and code: a graph of runs and what they pass on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mlx_probe.library.experiments.records import StoredRun

__all__ = ["Edge", "Lineage", "Node", "build_lineage", "path_of_input", "run_key"]

_DATA = "data"


@dataclass(frozen=True)
class Node:
    """A run, or something that runs read and write.

    Attributes:
        key: Its name in the graph.
        kind: "run", "model" or "data".
        label: What it is called.
        names: All that runs call it.
        paths: Where it is; of a run its folder.
        run: The run; None for what runs read and write.
        gone: Whether it was on this disk, and is not any more.
    """

    key: str
    kind: str
    label: str
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    run: StoredRun | None = field(default=None, repr=False)
    gone: bool = False


@dataclass(frozen=True)
class Edge:
    """Something passed on: from an input to a run, or from a run to what it wrote.

    Attributes:
        source: Key of a node.
        target: Key of a node.
        role: "base", "data" ...; "wrote" from a run.
    """

    source: str
    target: str
    role: str


@dataclass(frozen=True)
class Lineage:
    """A graph; it may have circles, as where a run replaced what it read.

    Attributes:
        nodes: By key.
        edges: Each once.
    """

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]

    @cached_property
    def sources(self) -> Mapping[str, list[Edge]]:
        """The edges that lead to each node."""
        found: dict[str, list[Edge]] = {key: [] for key in self.nodes}
        for edge in self.edges:
            found[edge.target].append(edge)
        return found

    @cached_property
    def targets(self) -> Mapping[str, list[Edge]]:
        """The edges that lead from each node."""
        found: dict[str, list[Edge]] = {key: [] for key in self.nodes}
        for edge in self.edges:
            found[edge.source].append(edge)
        return found

    def around(self, keys: Iterable[str]) -> Lineage:
        """Some nodes, all that they came from, and all that came from them."""
        kept = set(keys)
        for edges, end in ((self.sources, "source"), (self.targets, "target")):
            waiting = list(keys)
            seen = set(waiting)
            while waiting:
                for edge in edges[waiting.pop()]:
                    other = getattr(edge, end)
                    if other not in seen:
                        seen.add(other)
                        waiting.append(other)
            kept |= seen
        return Lineage(
            {key: node for key, node in self.nodes.items() if key in kept},
            tuple(edge for edge in self.edges if {edge.source, edge.target} <= kept),
        )

    def named(self, text: str) -> list[str]:
        """Keys of the models and data that a user means by a name or path."""
        path = os.path.realpath(os.path.expanduser(text))  # noqa: PTH111
        exact = [
            key
            for key, node in self.nodes.items()
            if node.run is None and (text in (node.label, *node.names) or path in node.paths)
        ]
        return exact or [
            key
            for key, node in self.nodes.items()
            if node.run is None
            and any(text.lower() in name.lower() for name in (node.label, *node.names) if text)
        ]

    def describe(self) -> dict[str, list[dict[str, object]]]:
        """Everything, for JSON."""
        return {
            "nodes": [
                {
                    "key": node.key,
                    "kind": node.kind,
                    "label": node.label,
                    "paths": list(node.paths),
                    "gone": node.gone,
                    "run": None if node.run is None else node.run.id,
                    "run_kind": None if node.run is None else node.run.kind,
                    "code": "" if node.run is None else node.run.facts.get("code", ""),
                    "version": "" if node.run is None else node.run.facts.get("version", ""),
                }
                for node in self.nodes.values()
            ],
            "edges": [
                {"source": edge.source, "target": edge.target, "role": edge.role}
                for edge in self.edges
            ],
        }


def run_key(run: StoredRun) -> str:
    """The key of a run's node."""
    return f"run:{run.id}"


def path_of_input(run: StoredRun, given: Mapping[str, str]) -> str:
    """The real path of an input; "" if it is none on this disk, as far as anybody knows."""
    path, name = given.get("path", ""), given.get("name", "")
    if not path:
        # Not by `Path.expanduser`, which raises an error for "~nobody".
        written = Path(run.facts.get("working_folder", ""), os.path.expanduser(name))  # noqa: PTH111
        is_path = name.startswith(("./", "../", "/", "~"))
        if not written.is_absolute() or not (is_path or os.path.lexists(written)):
            return ""
        path = str(written)
    return os.path.realpath(path) if "\0" not in path else ""


def build_lineage(runs: Sequence[StoredRun]) -> Lineage:
    """The graph of all runs.

    What has the same real path, or the same hash, or the same name and revision where nothing
    else is known, is one node. What lies in a run's output, or else in its folder, is of that run.

    Args:
        runs: All runs that may have written or read something.
    """
    return _Builder(runs).lineage()


class _Builder:
    """Joins what runs read with what runs wrote."""

    def __init__(self, runs: Sequence[StoredRun]) -> None:
        self._runs = runs
        # What is known under several names: each leads to another one, or to itself.
        self._same: dict[str, str] = {}
        self._names: dict[str, dict[str, None]] = {}
        # Of what a run wrote: its name there says more than what others call it.
        self._titles: dict[str, str] = {}
        self._paths: dict[str, dict[str, None]] = {}
        self._is_data: dict[str, bool] = {}
        self._edges: dict[tuple[str, str, str], None] = {}
        # The newest run that wrote a path wins: runs come newest first.
        self._writers: dict[str, tuple[StoredRun, bool]] = {}
        for run in reversed(runs):
            self._writers[str(run.folder)] = (run, False)
        for run in reversed(runs):
            for path in run.outputs:
                self._writers[os.path.realpath(path)] = (run, True)

    def lineage(self) -> Lineage:
        for run in self._runs:
            for given in run.inputs:
                self._read(run, given)
            for path in run.outputs:
                key = self._artifact(os.path.realpath(path), "", Path(path).name, False)
                self._titles[key] = f"{run.name}/{Path(path).name}"
                self._edges[run_key(run), key, "wrote"] = None
        nodes = {run_key(run): self._run_node(run) for run in self._runs}
        edges: dict[Edge, None] = {}
        for source, target, role in self._edges:
            edges[Edge(self._root(source), self._root(target), role)] = None
        for key in self._names:
            if self._root(key) == key:
                nodes[key] = self._node(key)
        return Lineage(nodes, tuple(edges))

    def _read(self, run: StoredRun, given: Mapping[str, str]) -> None:
        name, role = given.get("name", ""), given.get("role", "")
        path = path_of_input(run, given)
        writer = self._writer(path, run)
        if writer is not None:
            source, at = writer
            key = self._artifact(at, given.get("sha256", ""), name, role == _DATA)
            self._edges[run_key(source), key, "wrote"] = None
        else:
            revision = given.get("revision", "")
            named = "" if path or given.get("sha256") else f"{name}@{revision}"
            key = self._artifact(path, given.get("sha256", ""), name, role == _DATA, named)
        self._edges[key, run_key(run), role] = None

    def _writer(self, path: str, reader: StoredRun) -> tuple[StoredRun, str] | None:
        """The run that wrote a path, and the output that the path is part of."""
        if not path:
            return None
        for here in map(str, (Path(path), *Path(path).parents)):
            run, is_output = self._writers.get(here, (None, False))
            # A run may replace what it read, but what lies beside its outputs it was given.
            if run is not None and (is_output or run.number != reader.number):
                return run, here if is_output else path
        return None

    def _artifact(self, path: str, sha256: str, name: str, is_data: bool, named: str = "") -> str:
        """The node of something, by all that identifies it."""
        names = [f"path:{path}"] if path else []
        names += [f"sha256:{sha256}"] if sha256 else []
        names += [f"name:{named}"] if named else []
        names = names or [f"name:{name}@"]
        key = self._root(names[0])
        for other in names[1:]:
            key = self._join(key, other)
        self._names.setdefault(key, {}).setdefault(name)
        if path:
            self._paths.setdefault(key, {}).setdefault(path)
        self._is_data[key] = self._is_data.get(key, is_data) and is_data
        return key

    def _root(self, key: str) -> str:
        while (other := self._same.get(key, key)) != key:
            key = other
        return key

    def _join(self, key: str, other: str) -> str:
        other = self._root(other)
        if other == key:
            return key
        self._same[other] = key
        for known in (self._names, self._paths):
            if other in known:
                known[key] = {**known.get(key, {}), **known.pop(other)}
        if other in self._titles:
            self._titles.setdefault(key, self._titles.pop(other))
        if other in self._is_data:
            merged = self._is_data.pop(other)
            self._is_data[key] = self._is_data.get(key, merged) and merged
        return key

    def _run_node(self, run: StoredRun) -> Node:
        paths = (str(run.folder),)
        return Node(run_key(run), "run", run.name, (run.name,), paths, run, run.missing)

    def _node(self, key: str) -> Node:
        paths = tuple(self._paths.get(key, ()))
        kind = _DATA if self._is_data.get(key) else "model"
        gone = bool(paths) and not any(os.path.lexists(path) for path in paths)
        names = tuple(self._names[key])
        label = self._titles.get(key) or ", ".join(names)
        return Node(key, kind, label, names, paths, None, gone)

"""The finished runs that a statement is about, each with a short name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.library.catalog.database import default_database, open_database
from mlx_probe.library.catalog.runs import find_metas, known_metas
from mlx_probe.runs.folder import DEFAULT_ROOT, DEFAULT_STEM, is_time_name, stem_of
from mlx_probe.runs.load import locate_run
from mlx_probe.runs.meta import is_other_kind, read_run_meta
from mlx_probe.runs.training.folder import is_training

__all__ = ["NamedRun", "Scope", "find_named_runs"]

# What the tables of analyses and comparisons are called unless the user chooses.
_USUAL = (DEFAULT_STEM, "compare")


@dataclass(frozen=True)
class Scope:
    """What a statement may see.

    Attributes:
        runs: Runs and folders of runs; without any, and without ``catalog``, data/outputs.
        catalog: Whether the runs that the catalog knows belong to it.
        database: The catalog's file; None for the default one.
        models: Whether the models in the catalog may be seen.
    """

    runs: tuple[Path, ...] = ()
    catalog: bool = False
    database: Path | None = None
    models: bool = True

    @property
    def folders(self) -> str:
        """Where runs are looked for, for messages."""
        places = [str(path) for path in self.runs] or ([] if self.catalog else [str(DEFAULT_ROOT)])
        return " and ".join([*places, *(["the catalog"] if self.catalog else [])])

    @property
    def database_path(self) -> Path:
        """The catalog's file."""
        return self.database or default_database()

    @property
    def models_path(self) -> Path | None:
        """The catalog's file, where its models may be seen and it is there."""
        path = self.database_path
        return path if self.models and path.is_file() else None


@dataclass(frozen=True)
class NamedRun:
    """A finished run.

    Attributes:
        name: Unique among the runs of the statement.
        meta_path: Its run_meta.json.
        meta: Its content.
    """

    name: str
    meta_path: Path
    meta: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Which command made it: analyze or compare."""
        return "compare" if self.meta.get("kind") == "compare" else "analyze"


def find_named_runs(scope: Scope) -> list[NamedRun]:
    """The runs of a scope, newest first.

    Raises:
        ResultError: A path that the user named holds no finished run, or a run's metadata
            cannot be read.
    """
    paths: dict[Path, None] = {}
    for given in scope.runs:
        found = _measurements(given) if given.is_dir() else []
        # A model's folder and ``latest`` mean a run, as for every other command.
        paths |= dict.fromkeys(found or [locate_run(given).resolve()])
    if scope.catalog and scope.database_path.is_file():
        with open_database(scope.database_path, read_only=True) as database:
            paths |= dict.fromkeys(known_metas(database))
    if not scope.runs and not scope.catalog:
        paths = dict.fromkeys(_measurements(DEFAULT_ROOT))
    metas = {path: _read(path) for path in paths}
    for path, meta in metas.items():
        if not isinstance(meta.get("outputs"), dict):
            raise ResultError(
                f"{path} does not describe a run of mlx-probe: it lists no outputs",
                "Move it away, or name other runs with --runs",
            )
    newest = sorted(metas, key=lambda path: str(metas[path].get("created_at")), reverse=True)
    names = _names(newest)
    return [NamedRun(names[path], path, metas[path]) for path in newest]


def _measurements(folder: Path) -> list[Path]:
    """The runs below a folder that measure weights.

    The runs of snapshots are among them; training runs are not, nor evaluations and the like.
    """
    return [path for path in find_metas(folder) if not is_other_kind(path)]


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_run_meta(path)
    except ResultError as error:
        if is_training(path):
            raise
        # One damaged run of a folder leaves the others to be asked.
        raise ResultError(
            error.fact, "Restore the file, move it away, or name other runs with --runs"
        ) from error


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """The folder's name, with its model's where it is a time; the whole path where two are alike.

    The name of the tables is added where it is not the usual one.
    """
    short = {path: _short(path) for path in paths}
    known = Counter(short.values())
    return {path: name if known[name] == 1 else _whole(path) for path, name in short.items()}


def _short(path: Path) -> str:
    folder, stem = path.parent, stem_of(path)
    parts = [folder.parent.name, folder.name] if is_time_name(folder.name) else [folder.name]
    return "/".join([*parts, *_own(stem)])


def _whole(path: Path) -> str:
    return "/".join([str(path.parent), *_own(stem_of(path))])


def _own(stem: str) -> Iterable[str]:
    return () if stem in _USUAL else (stem,)

"""What an assistant may see: the runs and models that the user named, and nothing else."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.catalog import find_model, load_models, open_database
from mlx_probe.library.query import NamedRun, Scope, find_named_runs

__all__ = ["Places"]


@dataclass(frozen=True)
class Places:
    """Where the tools look.

    Attributes:
        scope: The runs, and the catalog.
        models: Folders below which models may be inspected.
    """

    scope: Scope
    models: tuple[Path, ...] = ()

    def runs(self, names: Sequence[str] = ()) -> list[NamedRun]:
        """Runs by their names; all of them without any.

        Args:
            names: Names as in the view ``runs``, or paths of these runs.

        Raises:
            ConfigError: One of them is none of the runs.
            ResultError: There are no runs.
        """
        known = find_named_runs(self.scope)
        if not known:
            raise ResultError(
                f"no finished run in {self.scope.folders}",
                "Ask the user to make one, or to start the server with other --runs",
            )
        return [self._run(name, known) for name in names] if names else known

    def run(self, name: str) -> NamedRun:
        """One run by its name; see `runs`."""
        return self.runs([name])[0]

    def model(self, name: str) -> Path | None:
        """A model that may be inspected: a path below the folders, or a name in the catalog.

        Args:
            name: What the assistant calls it.

        Returns:
            Its folder or file; None if it is no such model.
        """
        path = Path(name).expanduser().resolve()
        for folder in self.models:
            # Without links: one below the folder must not lead out of it.
            if path.exists() and path.is_relative_to(folder.expanduser().resolve()):
                return path
        if self.scope.catalog and self.scope.database_path.is_file():
            with open_database(self.scope.database_path, read_only=True) as database:
                models = load_models(database)
            try:
                return find_model(models, name).path
            except ConfigError:
                return None
        return None

    def _run(self, name: str, known: Sequence[NamedRun]) -> NamedRun:
        for run in known:
            if name in (run.name, str(run.meta_path), str(run.meta_path.parent)):
                return run
        names = [run.name for run in known]
        near = difflib.get_close_matches(name, names, n=3) or names[:3]
        raise ConfigError(
            f"{name!r} is none of the {len(known)} runs that this server shows",
            f"Near names: {', '.join(near)}. The query `select run from runs` lists all",
        )

"""The kinds of archives behind one interface, and which one a folder is."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

from mlx_probe.core.errors import ConfigError

from .archive import Archive, is_archive, make_archive, open_archive
from .config import BackupConfig, Progress
from .create import create_snapshot
from .drill import DrillConfig, drill_archive
from .prune import prune_archive
from .records import Created, Drill, Pruning, Restored, Snapshot, Verification
from .restic import Restic
from .restic_program import has_restic
from .restore import restore_snapshot
from .retention import Keep
from .verify import verify_archive
from .walk import Roots

__all__ = ["REPOSITORIES", "Repository", "choose_repository", "open_repository"]


class Repository(Protocol):
    """An archive, whoever wrote the format."""

    kind: ClassVar[str]
    root: Path

    def create(self, roots: Roots, config: BackupConfig, progress: Progress) -> Created:
        """Make a snapshot."""

    def snapshots(self) -> tuple[list[Snapshot], list[str]]:
        """Snapshots by time, and what is the matter with others."""

    def verify(self, progress: Progress) -> Verification:
        """Read everything back."""

    def restore(self, name: str, out: Path, skip_damaged: bool, progress: Progress) -> Restored:
        """Restore a snapshot into a new folder."""

    def prune(self, keep: Keep, is_dry: bool) -> Pruning:
        """Remove snapshots that no rule keeps."""

    def drill(self, config: DrillConfig, progress: Progress) -> Drill:
        """Restore at random and compare."""


class Own:
    """An archive of our format.

    Args:
        archive: The archive.
    """

    kind: ClassVar[str] = "own"

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.root = archive.root

    @classmethod
    def is_at(cls, root: Path) -> bool:
        """Whether a folder is one."""
        return is_archive(root)

    @classmethod
    def make(cls, root: Path) -> Own:
        """Make one; see `make_archive`."""
        return cls(make_archive(root))

    @classmethod
    def open(cls, root: Path) -> Own:
        """Open one; see `open_archive`."""
        return cls(open_archive(root))

    def create(self, roots: Roots, config: BackupConfig, progress: Progress) -> Created:
        """See `create_snapshot`."""
        return create_snapshot(self._archive, roots, config, progress)

    def snapshots(self) -> tuple[list[Snapshot], list[str]]:
        """See `Archive.list_snapshots`."""
        found, damage = self._archive.list_snapshots()
        return found, [error.fact for error in damage]

    def verify(self, progress: Progress) -> Verification:
        """See `verify_archive`."""
        return verify_archive(self._archive, progress)

    def restore(self, name: str, out: Path, skip_damaged: bool, progress: Progress) -> Restored:
        """See `restore_snapshot`."""
        return restore_snapshot(self._archive, name, out, skip_damaged, progress)

    def prune(self, keep: Keep, is_dry: bool) -> Pruning:
        """See `prune_archive`."""
        return prune_archive(self._archive, keep, is_dry)

    def drill(self, config: DrillConfig, progress: Progress) -> Drill:
        """See `drill_archive`."""
        return drill_archive(self._archive, config, progress)


# By what --with says.
REPOSITORIES: Mapping[str, type[Own] | type[Restic]] = {"own": Own, "restic": Restic}


def choose_repository(root: Path, wanted: str | None) -> Repository:
    """The archive in a folder; a new one if there is none.

    Args:
        root: The folder.
        wanted: Key in `REPOSITORIES`; None for what is there, or restic if it is installed.

    Raises:
        ConfigError: There is one of another kind.
        ResultError: None can be made there.
    """
    for kind, repository in REPOSITORIES.items():
        if repository.is_at(root):
            if wanted not in (None, kind):
                raise ConfigError(
                    f"{root} is an archive of the kind {kind!r}, not {wanted!r}",
                    "Leave out --with, or choose another folder with --repo",
                )
            return repository.make(root) if kind == "own" else Restic(root)
    return REPOSITORIES[wanted or ("restic" if has_restic() else "own")].make(root)


def open_repository(root: Path) -> Repository:
    """The archive in a folder.

    Raises:
        ConfigError: There is none.
    """
    if Restic.is_at(root):
        return Restic(root)
    if not Own.is_at(root) and root.parent.is_dir():
        names = [path.name for path in root.parent.iterdir()]
        near = difflib.get_close_matches(root.name, names, n=1)
        if near and not root.exists():
            raise ConfigError(
                f"{root} does not exist", f"Did you mean {os.fspath(root.with_name(near[0]))}?"
            )
    return Own.open(root)

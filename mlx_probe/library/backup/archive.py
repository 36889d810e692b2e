"""An archive's folder: what lies where in it, who may write, which snapshots it has.

    config.json     what it is
    README.txt      what it is, for people
    packs/          chunks of files, see pack.py
    snapshots/      a manifest for each snapshot, see manifest.py
    files.json      which manifests and packs there have to be
    drills/         reports of drills

Every file proves its own content: by its name, or by a hash inside.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import write_text

from .manifest import MANIFEST_SUFFIX, Manifest, manifest_path, read_manifest
from .pack import PACK_SUFFIX
from .readme import README
from .records import ArchiveDamage, Snapshot, now
from .sealed import unseal, write_sealed
from .store import disk_error

__all__ = ["Archive", "is_archive", "make_archive", "open_archive"]

_VERSION = 1
_KIND = "mlx-probe backup archive"
_OWN = {"config.json", "README.txt", "packs", "snapshots", "files.json", "drills"}

Use = Literal["read", "write", "remove"]


class Archive:
    """The paths of an archive."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.json"
        self.readme = root / "README.txt"
        self.packs = root / "packs"
        self.snapshots = root / "snapshots"
        self.ledger = root / "files.json"
        self.drills = root / "drills"

    def manifests(self) -> list[Path]:
        """The manifests that there are."""
        return sorted(self.snapshots.glob(f"*{MANIFEST_SUFFIX}"))

    def list_snapshots(self) -> tuple[list[Snapshot], list[ArchiveDamage]]:
        """Snapshots by time, and why others cannot be read."""
        found, damage = [], []
        for path in self.manifests():
            try:
                found.append(read_manifest(path).snapshot)
            except ArchiveDamage as error:
                damage.append(error)
        return sorted(found, key=lambda each: (each.time, each.id)), damage

    def manifest(self, name: str) -> Manifest:
        """The manifest of a snapshot.

        Args:
            name: Its id, the beginning of it, or "latest".

        Raises:
            ConfigError: There is none of that name, or more than one.
            ArchiveDamage: It is damaged.
        """
        return read_manifest(manifest_path(self.snapshots, self._id(name)))

    def _id(self, name: str) -> str:
        if name == "latest":
            snapshots, damage = self.list_snapshots()
            # The newest one may be among those that are damaged.
            if damage:
                raise damage[0]
            if snapshots:
                return snapshots[-1].id
            raise ConfigError(
                f"{self.root} has no snapshot", "Make one with `mlx-probe backup create`"
            )
        ids = [path.name.removesuffix(MANIFEST_SUFFIX) for path in self.manifests()]
        fits = [each for each in ids if name and each.startswith(name)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise ConfigError(
                f"{len(fits)} snapshots begin with {name!r}", f"Give more of it: {', '.join(fits)}"
            )
        raise ConfigError(
            f"{self.root} has no snapshot {name!r}",
            "`mlx-probe backup list` shows those that there are; `latest` is the newest one",
        )

    def listed(self) -> frozenset[str] | None:
        """Manifests and packs that the ledger has; None if it is damaged or missing."""
        try:
            return frozenset(map(str, unseal(self.ledger.read_bytes())["files"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_ledger(self, others: Iterable[str] = (), gone: Iterable[str] = ()) -> None:
        """Say which manifests and packs there have to be.

        Args:
            others: Names beside those that are there.
            gone: Names that are there and about to be removed.

        Raises:
            ResultError: The disk refused.
        """
        there = (*self.manifests(), *self.packs.glob(f"??/*{PACK_SUFFIX}"))
        names = {*others, *(path.name for path in there)} - {*gone}
        write_sealed(self.ledger, {"kind": _KIND, "files": sorted(names)})

    @contextmanager
    def locked(self, use: Use) -> Iterator[None]:
        """Keep others from what would disturb; the lock ends with the process.

        One writes at a time, while others read; nobody is there while something is removed.

        Raises:
            ResultError: Another process is at work.
        """
        alone = fcntl.LOCK_EX if use == "remove" else fcntl.LOCK_SH
        with _lock(self.config, alone):
            if use != "write":
                yield
                return
            if not self.readme.exists():
                write_text(self.readme, README)
            with _lock(self.readme, fcntl.LOCK_EX):
                yield

    def check_config(self) -> None:
        """Raises for an archive of a newer version, or a damaged config.json.

        Raises:
            ArchiveDamage: It is.
        """
        try:
            config = unseal(self.config.read_bytes())
        except (OSError, ValueError) as error:
            raise ArchiveDamage(
                f"{self.config} is damaged: {error}",
                "Move that file away: the next backup writes it anew, and nothing else needs it",
            ) from error
        if config.get("kind") != _KIND or config.get("version") != _VERSION:
            raise ArchiveDamage(
                f"{self.root} has version {config.get('version')!r} of archives; this mlx-probe "
                f"knows version {_VERSION}",
                "Update mlx-probe",
            )

    def clear_leftovers(self) -> None:
        """Remove what a killed backup was writing; only for who holds the lock."""
        for path in self.leftovers():
            with suppress(OSError):
                path.unlink()

    def leftovers(self) -> list[Path]:
        """Temporary files."""
        places = (self.root, self.packs, self.snapshots, self.drills, *self.packs.glob("??"))
        return sorted(path for place in places for path in place.glob(".*.tmp"))


def is_archive(root: Path) -> bool:
    """Whether a folder is an archive of ours."""
    # Made first: a killed process may have left no more.
    return (root / "packs").is_dir()


def make_archive(root: Path) -> Archive:
    """Make a new archive, or finish one that a killed process began or that lacks its config.

    Raises:
        ResultError: The folder has other files, or cannot be written.
    """
    archive = Archive(root)
    if archive.config.exists():
        return archive
    try:
        root.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in root.iterdir()}
        others = {name for name in names if not name.startswith(".")} - _OWN
        if others:
            raise ResultError(
                f"{root} is no backup archive, and not empty",
                "Choose a new or empty folder with --repo",
            )
        archive.packs.mkdir(exist_ok=True)
        archive.snapshots.mkdir(exist_ok=True)
    except OSError as error:
        raise disk_error(root, error) from error
    write_text(archive.readme, README)
    write_sealed(archive.config, {"kind": _KIND, "version": _VERSION, "created_at": now()})
    return archive


def open_archive(root: Path) -> Archive:
    """An archive that is there.

    Raises:
        ConfigError: It is not.
    """
    if not is_archive(root):
        raise ConfigError(
            f"{root} is no backup archive",
            "Check --repo, or make one there with `mlx-probe backup create`",
        )
    return Archive(root)


@contextmanager
def _lock(path: Path, how: int) -> Iterator[None]:
    try:
        # For writing, because network disks lock nothing else alone; a read-only disk is read.
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ArchiveDamage(
                f"cannot open {path}: {os.strerror(error.errno or 0)}",
                "Check that the disk is there and readable",
            ) from error
    try:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise ResultError(
                    f"another mlx-probe is at work on {path.parent}",
                    "Wait until it has ended, and run the command again",
                ) from error
            # Disks without locks: one process at a time is up to the user.
        yield
    finally:
        os.close(descriptor)

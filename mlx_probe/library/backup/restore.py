"""Restore a snapshot of an archive of ours: every hash is checked, nothing is written outside."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from mlx_probe.core.files import sha256_file, write_all

from .archive import Archive
from .config import SILENT, Progress
from .manifest import Manifest
from .pack import CHUNK
from .records import ArchiveDamage, Entry, LeftOut, Restored
from .store import ChunkStore
from .target import restoring
from .xattrs import write_xattrs

__all__ = ["Tree", "restore_snapshot"]


_ZEROS = memoryview(bytes(CHUNK))


def restore_snapshot(
    archive: Archive,
    name: str,
    out: Path,
    skip_damaged: bool = False,
    progress: Progress = SILENT,
) -> Restored:
    """Restore a snapshot into a new folder.

    It is built beside ``out`` under a hidden name, and renamed at the end. A killed restore leaves
    that folder, which the next one goes on with.

    Args:
        archive: The archive.
        name: A snapshot.
        out: A new or an empty folder.
        skip_damaged: Whether files that the archive has no whole copy of are left out.
        progress: Is told.

    Raises:
        ConfigError: There is no such snapshot, or ``out`` cannot be used.
        ArchiveDamage: A file cannot be restored as it was.
        ResultError: The disk refused.
    """
    with archive.locked("read"), closing(ChunkStore(archive.packs)) as store:
        manifest = archive.manifest(name)
        with restoring(out, manifest.snapshot.id) as folder:
            tree = Tree(store, manifest, folder, progress, skip_damaged)
            tree.write(list(manifest.entries()))
    lost, weights = tuple(tree.lost), tuple(tree.weights)
    return Restored(manifest.snapshot, out, tree.files, tree.size, lost, weights)


class Tree:
    """Writes entries below a folder that nobody else writes to.

    Args:
        store: Has the chunks.
        manifest: Where the entries are from, for messages.
        folder: What is restored into.
        progress: Is told.
        skip_damaged: Whether damaged files are left out.
    """

    def __init__(
        self,
        store: ChunkStore,
        manifest: Manifest,
        folder: Path,
        progress: Progress = SILENT,
        skip_damaged: bool = False,
    ) -> None:
        self._store, self._manifest, self._folder = store, manifest, folder
        self._progress, self._skip = progress, skip_damaged
        self.files = self.size = 0
        self.lost: list[LeftOut] = []
        self.weights: list[Entry] = []

    def write(self, entries: Sequence[Entry]) -> None:
        """Write entries: folders, files, then links, and what folders are like at the end."""
        self._check(entries)
        for entry in entries:
            if entry.type == "folder":
                self._make_folder(entry)
        for entry in entries:
            if entry.type == "file":
                self._file(entry)
            elif entry.type == "weights":
                self.weights.append(entry)
        lost = {each.path for each in self.lost} | {entry.path for entry in self.weights}
        # Links last, and symbolic ones behind all others: no file is written through one.
        for kind, make in _LINKS.items():
            for entry in entries:
                if entry.type == kind:
                    if kind == "hardlink" and entry.target in lost:
                        continue
                    path = self._at(entry)
                    _clear(path)
                    make(path, entry, self._folder)
                    if kind != "hardlink":
                        _set_facts(path, entry)
        for entry in reversed(entries):
            if entry.type == "folder":
                _set_facts(self._at(entry), entry)

    def _check(self, entries: Sequence[Entry]) -> None:
        """Every path once, every parent a folder that comes first."""
        folders, files, every = {""}, set[str](), set[str]()
        for entry in entries:
            parent = entry.path.rpartition("/")[0]
            if parent not in folders or entry.path in every:
                raise self._hostile(entry, "two entries have it, or it is in no folder")
            if entry.type == "hardlink" and entry.target not in files:
                raise self._hostile(entry, "its other name is no file before it")
            every.add(entry.path)
            if entry.type == "folder":
                folders.add(entry.path)
            elif entry.type in ("file", "weights"):
                files.add(entry.path)

    def _hostile(self, entry: Entry, why: str) -> ArchiveDamage:
        return ArchiveDamage(
            f"{self._manifest.path} is hostile: the path {entry.path!r}: {why}",
            "Restore another snapshot, of an archive that you trust",
        )

    def _at(self, entry: Entry) -> Path:
        return Path(self._folder, entry.path)

    def _make_folder(self, entry: Entry) -> None:
        path = self._at(entry)
        with suppress(FileExistsError):
            path.mkdir(0o700)
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise self._hostile(entry, "it is no folder")
        # A killed restore may have given it its mode.
        path.chmod(0o700)

    def _file(self, entry: Entry) -> None:
        self._progress.on_path(Path(entry.path))
        path = self._at(entry)
        if not _has_content(path, entry):
            try:
                self._write_content(path, entry)
            except ArchiveDamage as error:
                if not self._skip:
                    raise ArchiveDamage(f"{entry.path}: {error.fact}", error.remedy) from error
                _clear(path)
                self.lost.append(LeftOut(entry.path, error.fact))
                return
        _set_facts(path, entry)
        self.files += 1
        self.size += entry.size
        self._progress.on_bytes(entry.size)

    def _write_content(self, path: Path, entry: Entry) -> None:
        _clear(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        whole, rest = hashlib.sha256(), entry.size
        with os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0) as file:
            for chunk in entry.chunks or ((entry.sha256,) if entry.size else ()):
                if isinstance(chunk, str):
                    data = self._store.read(bytes.fromhex(chunk))
                    whole.update(data)
                    write_all(file, data)
                    rest -= len(data)
                    continue
                # Zeros become holes.
                for _ in range(chunk):
                    length = min(CHUNK, rest)
                    if length <= 0:
                        break
                    whole.update(_ZEROS[:length])
                    rest -= length
                file.seek(entry.size - rest)
            if rest == 0:
                file.truncate(entry.size)
        if rest or whole.hexdigest() != entry.sha256:
            raise ArchiveDamage(
                f"the hash of the whole is not what {self._manifest.path} says",
                "Restore another snapshot; --skip-damaged restores the rest",
            )


def _has_content(path: Path, entry: Entry) -> bool:
    """Whether a killed restore wrote this file whole."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
            return False
        return sha256_file(path) == entry.sha256
    except OSError:
        return False


def _clear(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


def _set_facts(path: Path, entry: Entry) -> None:
    """Owner, mode, attributes and times, in an order in which none undoes another."""
    is_link = entry.type == "symlink"
    if os.geteuid() == 0:
        with suppress(OSError):
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    write_xattrs(path, entry.xattrs)
    if not is_link:
        path.chmod(entry.mode & 0o7777)
    with suppress(OverflowError):
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def _hard_link(path: Path, entry: Entry, folder: Path) -> None:
    first = Path(folder, entry.target)
    try:
        path.hardlink_to(first)
    except OSError:
        # A disk without them: a copy.
        import shutil

        shutil.copy2(first, path, follow_symlinks=False)


def _symbolic_link(path: Path, entry: Entry, folder: Path) -> None:
    os.symlink(entry.target, path)  # noqa: PTH211  pathlib would tidy it


def _fifo(path: Path, entry: Entry, folder: Path) -> None:
    os.mkfifo(path, 0o600)


_LINKS: dict[str, Callable[[Path, Entry, Path], None]] = {
    "hardlink": _hard_link,
    "fifo": _fifo,
    "symlink": _symbolic_link,
}

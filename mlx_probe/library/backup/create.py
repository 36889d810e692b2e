"""Make a snapshot in an archive of ours."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from mlx_probe.core.version import __version__

from .archive import Archive
from .config import BackupConfig, Progress
from .manifest import Manifest, ManifestWriter, read_beginning, read_manifest
from .reading import ChangedWhileRead, FileReader
from .records import ArchiveDamage, Created, Entry, LeftOut, Totals, now
from .store import ChunkStore
from .walk import Roots, Seen, reason, walk
from .weights import WeightFiles
from .xattrs import read_xattrs

__all__ = ["create_snapshot", "is_same"]

# A file that was written as recently as this before it was read may have been written again
# within one tick of the clock.
_TICK = 20_000_000


def create_snapshot(
    archive: Archive, roots: Roots, config: BackupConfig, progress: Progress
) -> Created:
    """Store what is new, and write the manifest last: the snapshot is there whole or not at all.

    Whatever ends this process, the archive is sound, and the next attempt uses what is stored.

    Raises:
        ResultError: Another process writes, or the disk refused.
    """
    with archive.locked("write"):
        archive.check_config()
        archive.clear_leftovers()
        with closing(ChunkStore(archive.packs)) as store:
            reader = FileReader(store, progress.on_bytes)
            try:
                made = _Backup(archive, roots, config, progress, store, reader).run()
            finally:
                reader.close()
        # What ought to be there stays named, so that `verify` misses it.
        archive.write_ledger(archive.listed() or frozenset())
    return made


class _Backup:
    def __init__(
        self,
        archive: Archive,
        roots: Roots,
        config: BackupConfig,
        progress: Progress,
        store: ChunkStore,
        reader: FileReader,
    ) -> None:
        self._archive, self._roots, self._config = archive, roots, config
        self._progress, self._store, self._reader = progress, store, reader
        self._weights = WeightFiles(config, progress.on_bytes)
        self._left_out: list[LeftOut] = []
        self._first_names: dict[tuple[int, int], str] = {}
        self._read = self._written_before = 0

    def run(self) -> Created:
        before = {} if self._config.rescan else self._earlier()
        about = {
            "time": now(),
            "began_ns": time.time_ns(),
            "base": os.fspath(self._roots.base),
            "paths": [os.fspath(path) for path in self._roots.paths],
            "program": __version__,
        }
        writer = ManifestWriter(self._archive.snapshots, about)
        try:
            files = size = weight_bytes = 0
            references = []
            for entry in self._entries(before):
                writer.add(entry)
                if entry.type == "file":
                    files, size = files + 1, size + entry.size
                elif entry.type == "weights":
                    references.append(entry)
                    weight_bytes += entry.size
            # The chunks first: a manifest never names one that is not on the disk.
            self._store.flush()
            lost = sum(each.is_lost for each in self._left_out)
            totals = Totals(files, size, len(references), weight_bytes, lost)
            snapshot = writer.finish(totals)
        finally:
            writer.abandon()
        return Created(
            snapshot, self._read, self._store.added, tuple(self._left_out), tuple(references)
        )

    def _earlier(self) -> Mapping[str, Any]:
        """Files of the newest snapshot of the same paths, as written there, by their names now."""
        paths = tuple(os.fspath(path) for path in self._roots.paths)
        begun = [each for p in self._archive.manifests() if (each := read_beginning(p)) is not None]
        if not begun:
            return {}
        newest = max(begun, key=lambda each: (each.paths == paths, each.time))
        try:
            manifest = read_manifest(newest.path)
            return self._by_name(manifest)
        except ArchiveDamage:
            # It is for `verify` to say; then every file is read.
            return {}

    def _by_name(self, manifest: Manifest) -> Mapping[str, Any]:
        self._written_before = manifest.began_ns - _TICK
        base, here, found = manifest.base, os.fspath(self._roots.base), {}
        for entry in manifest.plain_entries():
            if isinstance(entry, dict) and entry.get("type") in ("file", "weights"):
                name = str(entry.get("path"))
                found[name if base == here else self._roots.below_base(f"{base}/{name}")] = entry
        return found

    def _known(self, entry: Any) -> Entry | None:
        """An entry of the earlier snapshot; None if it may not be relied on."""
        try:
            known = Entry.read(entry)
        except (TypeError, ValueError):
            return None
        return known if known.ctime_ns < self._written_before else None

    def _entries(self, before: Mapping[str, Any]) -> Iterator[Entry]:
        for seen in walk(self._roots, self._archive.root):
            if isinstance(seen, LeftOut):
                self._left_out.append(seen)
                continue
            self._progress.on_path(Path(seen.path))
            try:
                known = before.get(seen.name)
                entry = self._entry(seen, None if known is None else self._known(known))
            except OSError as error:
                self._left_out.append(LeftOut(seen.path, reason(error)))
                continue
            if entry is not None:
                yield entry

    def _entry(self, seen: Seen, before: Entry | None) -> Entry | None:
        status = seen.status
        make = _KINDS.get(stat.S_IFMT(status.st_mode))
        if make is None:
            why = "a socket or a device, which has no content"
            self._left_out.append(LeftOut(seen.path, why, is_lost=False))
            return None
        if not stat.S_ISREG(status.st_mode):
            return make(seen)
        key = status.st_dev, status.st_ino
        if key in self._first_names:
            return Entry(seen.name, "hardlink", target=self._first_names[key])
        entry = self._file(seen, before)
        # Now: a name that could not be read has no entry.
        if status.st_nlink > 1:
            self._first_names[key] = seen.name
        return entry

    def _file(self, seen: Seen, before: Entry | None) -> Entry:
        plain = _plain(seen, seen.status)
        if before is not None and not is_same(before, seen.status):
            before = None
        if not self._config.include_weights:
            was = before is not None and before.type == "weights"
            if was or (before is None and self._weights.is_reference(seen)):
                return self._weights.entry(seen, plain, before if was else None)
        if before is not None and before.type == "file" and self._has(before):
            same = {"size": before.size, "sha256": before.sha256, "chunks": before.chunks}
            return Entry(**{**plain.describe(), **same})
        self._read += 1
        status = seen.status
        try:
            status, size, sha256, chunks = self._reader.read(seen.path)
        except ChangedWhileRead as error:
            self._left_out.append(LeftOut(seen.path, f"{error}; it is stored as it was then"))
            size, sha256, chunks = error.result
        content = {"size": size, "sha256": sha256, "chunks": chunks}
        return Entry(**{**_plain(seen, status).describe(), **content})

    def _has(self, entry: Entry) -> bool:
        """Whether all chunks of a file are in the archive still: a pack may have been lost."""
        return all(chunk in self._store for chunk in entry.chunk_hashes())


def _plain(seen: Seen, status: os.stat_result) -> Entry:
    return Entry(
        seen.name,
        "file",
        **_common(seen, status),
        size=status.st_size,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )


def _common(seen: Seen, status: os.stat_result) -> dict[str, Any]:
    return {
        "mode": stat.S_IMODE(status.st_mode),
        "mtime_ns": status.st_mtime_ns,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "xattrs": read_xattrs(seen.path),
    }


def is_same(before: Entry, status: os.stat_result) -> bool:
    """Whether a file was not written since it was backed up."""
    return (before.size, before.mtime_ns, before.ctime_ns, before.inode) == (
        *(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino),
    )


def _folder(seen: Seen) -> Entry:
    return Entry(seen.name, "folder", **_common(seen, seen.status))


def _symlink(seen: Seen) -> Entry:
    target = os.readlink(seen.path)  # noqa: PTH115  pathlib would tidy it
    return Entry(seen.name, "symlink", **_common(seen, seen.status), target=target)


def _fifo(seen: Seen) -> Entry:
    return Entry(seen.name, "fifo", **_common(seen, seen.status))


# By the type of a file as the system has it; others have no content.
_KINDS: Mapping[int, Callable[[Seen], Entry] | None] = {
    stat.S_IFREG: _folder,
    stat.S_IFDIR: _folder,
    stat.S_IFLNK: _symlink,
    stat.S_IFIFO: _fifo,
}

"""Restore at random and compare: a backup that was never restored is a hope."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import sha256_file

from .archive import Archive
from .config import Progress
from .create import is_same
from .live import compare_live
from .manifest import Manifest, manifest_path, read_manifest
from .records import ArchiveDamage, Drill, Entry, LeftOut, Snapshot, now
from .restore import Tree
from .sealed import write_sealed
from .store import ChunkStore

__all__ = ["DrillConfig", "choose_snapshot", "drill_archive", "keep_report"]


@dataclass(frozen=True)
class DrillConfig:
    """How a drill is made.

    Attributes:
        seed: Chooses snapshot and files.
        snapshot: The snapshot; None for a random one.
        files: Number of files; None for all.
        scratch: Folder to restore into; None for the system's.
    """

    seed: int
    snapshot: str | None = None
    files: int | None = None
    scratch: Path | None = None


def drill_archive(archive: Archive, config: DrillConfig, progress: Progress) -> Drill:
    """Restore files of a random snapshot, compare with their hashes and with what is on the disk.

    Raises:
        ConfigError: There is no snapshot.
        ArchiveDamage: The manifest is damaged.
        ResultError: The disk refused.
    """
    chance = random.Random(config.seed)
    with archive.locked("read"), closing(ChunkStore(archive.packs)) as store:
        if config.snapshot is None:
            snapshots, damage = archive.list_snapshots()
            if damage:
                raise damage[0]
            name = choose_snapshot(snapshots, chance, archive.root).id
            manifest = read_manifest(manifest_path(archive.snapshots, name))
        else:
            manifest = archive.manifest(config.snapshot)
        entries = _chosen(list(manifest.entries()), config.files, chance)
        with tempfile.TemporaryDirectory(prefix="mlx-probe-drill-", dir=config.scratch) as folder:
            drill = _drill(store, manifest, entries, Path(folder), config.seed, progress)
    return keep_report(drill, archive.drills)


def choose_snapshot(snapshots: Sequence[Snapshot], chance: random.Random, repo: Path) -> Snapshot:
    """A random one.

    Raises:
        ConfigError: There is none.
    """
    if not snapshots:
        raise ConfigError(f"{repo} has no snapshot", "Make one with `mlx-probe backup create`")
    return chance.choice(list(snapshots))


def keep_report(drill: Drill, folder: Path) -> Drill:
    """Write the report into the archive.

    Raises:
        ResultError: The disk refused.
    """
    folder.mkdir(exist_ok=True)
    stamp = "".join(c for c in drill.time[:19] if c.isdigit())
    path = folder / f"{stamp}-{drill.seed}.json"
    content = {**asdict(drill), "passed": not drill.failed}
    del content["report"]
    write_sealed(path, content)
    return Drill(**{**vars(drill), "report": path})


def _chosen(entries: list[Entry], count: int | None, chance: random.Random) -> list[Entry]:
    """All entries, or some files with their folders."""
    files = [entry for entry in entries if entry.type == "file"]
    if count is None or count >= len(files):
        return entries
    chosen = {entry.path for entry in chance.sample(files, count)}
    folders = set[str]()
    for path in chosen:
        while path := path.rpartition("/")[0]:
            folders.add(path)
    return [e for e in entries if e.path in (folders if e.type == "folder" else chosen)]


def _drill(
    store: ChunkStore,
    manifest: Manifest,
    entries: Sequence[Entry],
    folder: Path,
    seed: int,
    progress: Progress,
) -> Drill:
    tree = Tree(store, manifest, folder, progress, skip_damaged=True)
    base, same, changed = Path(manifest.snapshot.base), 0, 0
    try:
        tree.write(entries)
        failed = tree.lost
        lost = {each.path for each in failed}
        files = [e for e in entries if e.type == "file" and e.path not in lost]
    except (ArchiveDamage, OSError) as error:
        failed, files = [LeftOut(os.fspath(manifest.path), str(error))], []
    for entry in files:
        restored = folder / entry.path
        # As another program would see it: from the disk.
        if sha256_file(restored) != entry.sha256:
            failed.append(LeftOut(entry.path, "the restored file has another hash"))
            continue
        equal = compare_live(restored, base / entry.path, partial(is_same, entry))
        same, changed = same + (equal is True), changed + (equal is None)
        if equal is False:
            why = "the file on the disk has the same times, but another content"
            failed.append(LeftOut(entry.path, why))
    facts = (tree.files, tree.size, same, changed, tuple(failed), Path())
    return Drill(now(), seed, manifest.snapshot.id, *facts)

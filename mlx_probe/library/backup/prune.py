"""Remove snapshots from an archive of ours, and what only they needed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from .archive import Archive
from .manifest import manifest_path, read_manifest
from .pack import Place, read_places
from .records import ArchiveDamage, Pruning
from .retention import Keep, choose
from .store import ChunkStore, disk_error

__all__ = ["prune_archive"]

# A pack of which less is needed is written again without the rest.
_NEEDED = 0.5


def prune_archive(archive: Archive, keep: Keep, is_dry: bool) -> Pruning:
    """Remove the snapshots that no rule keeps.

    The ledger first, then manifests, then packs: whatever ends this process, no snapshot that is
    listed lacks anything.

    Args:
        archive: The archive.
        keep: The rules.
        is_dry: Whether nothing is done.

    Raises:
        ArchiveDamage: Something is damaged: nothing is removed.
        ResultError: Another process is there, or the disk refused.
    """
    keep.check()
    with archive.locked("read" if is_dry else "remove"):
        snapshots, damage = archive.list_snapshots()
        if damage:
            raise _refusal(damage[0])
        kept, removed = choose(snapshots, keep)
        needed = set[bytes]()
        for snapshot, _ in kept:
            for entry in read_manifest(manifest_path(archive.snapshots, snapshot.id)).entries():
                needed.update(entry.chunk_hashes())
        with closing(ChunkStore(archive.packs)) as store:
            if store.unreadable:
                path, why = next(iter(store.unreadable.items()))
                raise _refusal(ArchiveDamage(f"{path} is damaged: {why}", ""))
            packs = {path: list(read_places(path)) for path in store.packs()}
            needed_of = {
                path: [
                    name for name, place in found if name in needed and _is_at(store, name, place)
                ]
                for path, found in packs.items()
            }
            small = [path for path, names in needed_of.items() if _is_small(packs[path], names)]
            freed = sum(path.stat().st_size for path in small)
            freed -= sum(_stored(packs[path], needed_of[path]) for path in small)
            if not is_dry:
                again = [name for path in small for name in needed_of[path]]
                _remove(archive, store, [each.id for each in removed], again, small)
    return Pruning(tuple(kept), tuple(removed), freed)


def _remove(
    archive: Archive, store: ChunkStore, removed: list[str], again: list[bytes], packs: list[Path]
) -> None:
    try:
        archive.clear_leftovers()
        manifests = [manifest_path(archive.snapshots, each) for each in removed]
        gone = {path.name for path in (*manifests, *packs)}
        new = {path.name for path in store.rewrite(again)}
        archive.write_ledger(gone=gone - new)
        for path in manifests:
            path.unlink()
        # What was written again may be what was there.
        for path in packs:
            if path.name not in new:
                path.unlink()
    except OSError as error:
        raise disk_error(archive.root, error) from error


def _is_at(store: ChunkStore, name: bytes, place: Place) -> bool:
    """Whether this is the copy that is read: a killed prune may leave two."""
    found = store.place(name)
    return found is not None and found.pack == place.pack


def _is_small(places: list[tuple[bytes, Place]], needed: list[bytes]) -> bool:
    every = sum(place.stored for _, place in places)
    return not needed or _stored(places, needed) < _NEEDED * every


def _stored(places: list[tuple[bytes, Place]], needed: list[bytes]) -> int:
    wanted = set(needed)
    return sum(place.stored for name, place in places if name in wanted)


def _refusal(error: ArchiveDamage) -> ArchiveDamage:
    return ArchiveDamage(
        f"nothing is removed from a damaged archive: {error.fact}",
        "Run `mlx-probe backup verify`, and move what is damaged away first",
    )

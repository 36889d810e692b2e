"""Read an archive of ours back: every byte of every file is proved by a hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .archive import Archive
from .config import Progress
from .manifest import Manifest, read_manifest
from .pack import decompress, pack_path, read_places
from .readme import README
from .records import ArchiveDamage, Damage, Verification
from .sealed import unseal
from .walk import reason

__all__ = ["verify_archive"]

# Paths that a damaged file is shown to concern.
_MOST = 20
_WORKERS = min(4, os.cpu_count() or 1)
# What macOS writes into every folder that it shows.
_OF_THE_SYSTEM = {".DS_Store", ".localized"}


@dataclass
class _Pack:
    path: Path
    why: str = ""
    size: int = 0
    good: set[bytes] = field(default_factory=set)
    bad: set[bytes] = field(default_factory=set)


def verify_archive(archive: Archive, progress: Progress) -> Verification:
    """Read every file of an archive and compare it with its hash.

    Raises:
        ResultError: Something is being removed from it just now.
    """
    damage: list[Damage] = []
    with ExitStack() as stack:
        # A lost config.json is named below, and the others are checked as well.
        with suppress(ArchiveDamage):
            stack.enter_context(archive.locked("read"))
        damage += _small_files(archive)
        # In this order: a backup may be made meanwhile, packs first.
        listed, manifests = archive.listed() or frozenset(), archive.manifests()
        paths = sorted(archive.packs.glob("??/*.pack"))
        with ThreadPoolExecutor(_WORKERS) as pool:
            packs = []
            for pack in pool.map(_check_pack, paths):
                progress.on_path(pack.path)
                progress.on_bytes(pack.size)
                packs.append(pack)
        whole = []
        for path in manifests:
            progress.on_path(path)
            try:
                manifest = read_manifest(path)
                # Each entry is looked at.
                for _ in manifest.entries():
                    pass
                whole.append(manifest)
            except ArchiveDamage as error:
                why = error.fact.partition(" is damaged: ")[2] or error.fact
                damage.append(Damage(_name(archive, path), why, (f"{_id(path)}: *",)))
        gone = listed - {path.name for path in (*manifests, *paths)}
        for name in sorted(each for each in gone if not each.endswith(".pack")):
            damage.append(Damage(f"snapshots/{name}", "it is missing", (f"{name[:16]}: *",)))
        lost_packs = sorted(each for each in gone if each.endswith(".pack"))
        damage += _damaged_packs(archive, packs, lost_packs, whole)
        notes = [*_strangers(archive, (*manifests, *paths)), *_unneeded(archive, packs, whole)]
        sizes = [path.stat().st_size for path in manifests if path.exists()]
    size = sum(sizes) + sum(pack.size for pack in packs)
    return Verification(
        *(tuple(damage), tuple(notes), len(whole), len(packs) + len(manifests), size),
    )


def _small_files(archive: Archive) -> list[Damage]:
    def readme(data: bytes) -> None:
        if data != README.encode("ascii"):
            raise ValueError("it is not what was written")

    checks: list[tuple[Path, Callable[[bytes], object]]] = [
        (archive.config, unseal),
        (archive.readme, readme),
        *((path, unseal) for path in sorted(archive.drills.glob("*.json"))),
    ]
    # A backup that was killed before its first snapshot has none.
    if archive.ledger.exists() or archive.manifests():
        checks.append((archive.ledger, unseal))
    # A killed process may have made no more of it than folders: the next backup goes on.
    is_begun = archive.ledger.exists() or archive.manifests() or any(archive.packs.iterdir())
    damage = []
    for path, check in checks:
        try:
            check(path.read_bytes())
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not is_begun:
                continue
            damage.append(Damage(_name(archive, path), reason(error)))
        except ValueError as error:
            damage.append(Damage(_name(archive, path), str(error)))
    return damage


def _check_pack(path: Path) -> _Pack:
    pack = _Pack(path)
    try:
        data = path.read_bytes()
        pack.size = len(data)
        digest = hashlib.sha256(data).hexdigest()
        if pack_path(path.parent.parent, digest) != path:
            pack.why = "its hash is not its name"
        for name, place in read_places(path):
            stored = data[place.offset : place.offset + place.stored]
            try:
                content = decompress(place.codec, stored, place.length)
                is_good = hashlib.sha256(content).digest() == name
            except ValueError:
                is_good = False
            (pack.good if is_good else pack.bad).add(name)
    except OSError as error:
        pack.why = reason(error)
    except ValueError as error:
        pack.why = pack.why or str(error)
    if pack.bad and not pack.why:
        pack.why = "a chunk is not what its list says"
    return pack


def _damaged_packs(
    archive: Archive, packs: Iterable[_Pack], gone: list[str], manifests: Iterable[Manifest]
) -> list[Damage]:
    packs = list(packs)
    good = set[bytes]().union(*(pack.good for pack in packs))
    bad = [pack for pack in packs if pack.why]
    # By the damaged pack that had the chunk; None for those whose lists are lost too.
    concerns: dict[Path | None, list[str]] = {}
    owner = {chunk: pack.path for pack in bad for chunk in pack.bad}
    for manifest in manifests:
        for entry in manifest.entries():
            lost = {owner.get(c) for c in entry.chunk_hashes() if c not in good}
            for path in lost:
                concerns.setdefault(path, []).append(f"{manifest.snapshot.id}: {entry.path}")
    unknown = concerns.pop(None, [])
    damage = []
    for pack in bad:
        has_list = bool(pack.good or pack.bad)
        paths = concerns.get(pack.path, []) if has_list else unknown
        damage.append(_damage(_name(archive, pack.path), pack.why, paths))
    # One that nothing needs any more was moved away after a damage, and its files stored again.
    for name in gone if unknown else ():
        path = pack_path(archive.packs, name.removesuffix(".pack"))
        damage.append(_damage(_name(archive, path), "it is missing", unknown))
    if unknown and not gone and all(pack.good or pack.bad for pack in bad):
        damage.append(_damage("packs", "chunks are in no pack", unknown))
    return damage


def _damage(name: str, why: str, paths: list[str]) -> Damage:
    return Damage(name, why, tuple(paths[:_MOST]), max(0, len(paths) - _MOST))


def _strangers(archive: Archive, known: Iterable[Path]) -> list[str]:
    """Files that an archive does not have."""
    own = {archive.config, archive.readme, archive.ledger, *archive.drills.glob("*.json"), *known}
    left = set(archive.leftovers())
    notes = []
    for folder, _, names in os.walk(archive.root):
        for path in (Path(folder, name) for name in sorted(names)):
            if path in left:
                notes.append(
                    f"{_name(archive, path)}: left by a killed backup; the next removes it"
                )
            elif path not in own and path.name not in _OF_THE_SYSTEM:
                notes.append(f"{_name(archive, path)}: no file of this archive")
    return notes


def _unneeded(archive: Archive, packs: Iterable[_Pack], manifests: Iterable[Manifest]) -> list[str]:
    needed = {
        chunk
        for manifest in manifests
        for entry in manifest.entries()
        for chunk in entry.chunk_hashes()
    }
    return [
        f"{_name(archive, pack.path)}: no snapshot needs it; prune removes it"
        for pack in packs
        if not pack.why and not needed & pack.good
    ]


def _name(archive: Archive, path: Path) -> str:
    return os.fspath(path.relative_to(archive.root))


def _id(path: Path) -> str:
    return path.name.partition(".")[0]

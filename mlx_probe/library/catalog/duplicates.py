"""Finds weight files with the same content."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from mlx_probe.core.machine import usable_cores
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.hashing import (
    FileIdentity,
    hash_file,
    identify,
    keep_hash,
    known_hashes,
    sample,
)
from mlx_probe.library.catalog.records import Model
from mlx_probe.source.stores import STORES

__all__ = ["Copy", "DuplicateGroup", "Duplicates", "Progress", "find_duplicates", "hash_models"]

# Called with the total bytes to hash, and the bytes hashed since the last call.
Progress = Callable[[int, int], None]

# More readers do not get more from a disk.
_READERS = 4


@dataclass(frozen=True)
class Copy:
    """One file on a disk with all names that the catalog knows.

    Attributes:
        identity: The file.
        names: Real paths, sorted; they are hard links to the same file.
        paths: The paths that models use, which may be links.
        links: Number of names on the disk, known or not.
        store: The first of `STORES` that has the file.
        models: Ids of the models that the file belongs to.
    """

    identity: FileIdentity
    names: tuple[Path, ...]
    paths: tuple[Path, ...]
    links: int
    store: str
    models: tuple[str, ...]

    @property
    def is_known(self) -> bool:
        """Whether the catalog knows all names: only then can the bytes be freed."""
        return self.links <= len(self.names)


@dataclass(frozen=True)
class DuplicateGroup:
    """Files with the same content.

    Attributes:
        sha256: Hash of the content.
        size: Bytes of each file.
        copies: At least two files, in the order of `STORES`, then by age. The first is kept.
    """

    sha256: str
    size: int
    copies: tuple[Copy, ...]

    @property
    def saves(self) -> int:
        """Bytes that hard links would save; a hard link cannot lead to another disk."""
        freed, disks = 0, set()
        for copy in self.copies:
            if copy.identity.device in disks and copy.is_known:
                freed += self.size
            disks.add(copy.identity.device)
        return freed


@dataclass
class Duplicates:
    """The result of a search.

    Attributes:
        groups: Groups of equal files, the largest waste first.
        compared: Number of files; several names of one file count once.
        hashed: Bytes that were hashed.
        troubles: Files that could not be read, and why.
    """

    groups: list[DuplicateGroup] = field(default_factory=list)
    compared: int = 0
    hashed: int = 0
    troubles: list[tuple[Path, str]] = field(default_factory=list)


def find_duplicates(
    database: Database,
    models: Iterable[Model],
    verify: bool = False,
    smallest: int = 1,
    progress: Progress = lambda total, more: None,
    hashing: bool = True,
) -> Duplicates:
    """Find weight files with the same content.

    Files of the same size are compared by a sample of beginning, middle and end; only files with
    the same sample are hashed. Links to one file count as one file. Empty files are no duplicates.

    Args:
        database: The catalog; it saves the hashes.
        models: The models whose files are compared.
        verify: Do not trust hashes in file names (Hub cache, Ollama) and earlier hashes.
        smallest: Bytes; smaller files are left out.
        progress: See `Progress`.
        hashing: Whether to hash files without a known hash; otherwise they are left out.
    """
    result = Duplicates()
    copies, promised = _copies(models, result)
    copies = [copy for copy in copies if copy.identity.size >= max(1, smallest)]
    result.compared = len(copies)
    alike: dict[tuple[int, bytes], list[Copy]] = {}
    for same_size in _several(copies, lambda copy: copy.identity.size):
        for copy in same_size:
            try:
                seen = sample(copy.names[0], copy.identity.size)
            except OSError as error:
                result.troubles.append((copy.names[0], _why(error)))
                continue
            alike.setdefault((copy.identity.size, seen), []).append(copy)
    candidates = [group for group in alike.values() if len(group) > 1]
    known = {} if verify else {**promised, **known_hashes(database)}
    wanted = [copy for group in candidates for copy in group if copy.identity not in known]
    if hashing:
        known |= _hash_all(database, wanted, progress, result)
    for group in candidates:
        hashed = [copy for copy in group if copy.identity in known]
        for same in _several(hashed, lambda copy: known[copy.identity]):
            first = same[0].identity
            result.groups.append(DuplicateGroup(known[first], first.size, tuple(_ordered(same))))
    result.groups.sort(key=lambda group: (-group.saves, -group.size, group.sha256))
    return result


def hash_models(
    database: Database,
    models: Iterable[Model],
    progress: Progress = lambda total, more: None,
) -> Duplicates:
    """Hash every weight file without a known hash.

    Returns:
        A result without groups.
    """
    result = Duplicates()
    copies, promised = _copies(models, result)
    known = {**promised, **known_hashes(database)}
    wanted = [copy for copy in copies if copy.identity not in known]
    _hash_all(database, wanted, progress, result)
    for copy in copies:
        # Another model may use the same file under another name.
        if copy.identity in known and copy.identity not in promised:
            keep_hash(database, copy.paths, known[copy.identity], copy.identity)
    result.compared = len(copies)
    return result


def _hash_all(
    database: Database, wanted: Sequence[Copy], progress: Progress, result: Duplicates
) -> dict[FileIdentity, str]:
    """Hash files and save each hash at once; unreadable files go to ``result.troubles``."""
    hashes: dict[FileIdentity, str] = {}
    total = sum(copy.identity.size for copy in wanted)
    progress(total, 0)
    # Not in a `with` block: at an interrupt it would wait for files of hundreds of gigabytes.
    pool = ThreadPoolExecutor(min(_READERS, usable_cores()))
    try:
        outcomes = pool.map(lambda copy: _hash(copy, lambda n: progress(total, n)), wanted)
        for copy, outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, OSError):
                result.troubles.append((copy.names[0], _why(outcome)))
                continue
            sha256, identity = outcome
            hashes[copy.identity] = sha256
            result.hashed += identity.size
            keep_hash(database, copy.paths, sha256, identity)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return hashes


def _copies(
    models: Iterable[Model], result: Duplicates
) -> tuple[list[Copy], dict[FileIdentity, str]]:
    """Every file once, and the hashes that are known from file names or from the models."""
    order = list(STORES)
    statuses: dict[tuple[int, int], os.stat_result] = {}
    names: dict[tuple[int, int], set[Path]] = {}
    paths: dict[tuple[int, int], set[Path]] = {}
    users: dict[tuple[int, int], list[Model]] = {}
    promised: dict[FileIdentity, str] = {}
    for model in models:
        for file in model.weights:
            try:
                status = file.path.stat()
            except FileNotFoundError:
                continue  # deleted after the scan
            except OSError as error:
                result.troubles.append((file.path, _why(error)))
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            inode = (status.st_dev, status.st_ino)
            statuses[inode] = status
            names.setdefault(inode, set()).add(Path(os.path.realpath(file.path)))
            paths.setdefault(inode, set()).add(file.path)
            users.setdefault(inode, []).append(model)
            if file.sha256 and (file.size, file.mtime_ns) == (status.st_size, status.st_mtime_ns):
                promised[identify(status)] = file.sha256
    copies = [
        Copy(
            identity=identify(status),
            names=tuple(sorted(names[inode])),
            paths=tuple(sorted(paths[inode])),
            links=status.st_nlink,
            store=min((model.store for model in users[inode]), key=order.index),
            models=tuple(dict.fromkeys(model.id for model in users[inode])),
        )
        for inode, status in statuses.items()
    ]
    return copies, promised


def _ordered(copies: Sequence[Copy]) -> list[Copy]:
    order = list(STORES)
    return sorted(copies, key=lambda c: (order.index(c.store), c.identity.mtime_ns, c.names))


def _several(copies: Iterable[Copy], key: Callable[[Copy], object]) -> Iterator[list[Copy]]:
    """Groups of at least two with equal keys."""
    groups: dict[object, list[Copy]] = {}
    for copy in copies:
        groups.setdefault(key(copy), []).append(copy)
    return (group for group in groups.values() if len(group) > 1)


def _hash(copy: Copy, on_bytes: Callable[[int], None]) -> tuple[str, FileIdentity] | OSError:
    try:
        sha256, identity = hash_file(copy.names[0], on_bytes)
        if not identity.is_unchanged_since(copy.identity):
            return OSError(0, "it changed while it was read")
        return sha256, identity
    except OSError as error:
        return error


def _why(error: OSError) -> str:
    return error.strerror or str(error)

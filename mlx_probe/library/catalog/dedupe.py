"""Replaces copies by links, and links by copies again: plan and execution."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.core.units import format_size
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.duplicates import Copy, DuplicateGroup
from mlx_probe.library.catalog.hashing import FileIdentity, hash_file, identify, keep_hash
from mlx_probe.library.catalog.link_journal import Link, load_links
from mlx_probe.library.catalog.linking import Refused, recover, replace_by_link, take_back
from mlx_probe.library.catalog.lock import alone
from mlx_probe.source.stores import STORES

__all__ = [
    "Dedupe",
    "LinkPlan",
    "PlannedLink",
    "dedupe",
    "plan_links",
    "settle",
    "undo",
    "undoable",
]


@dataclass(frozen=True)
class PlannedLink:
    """A path that will become a link.

    Attributes:
        path: Real path of the copy.
        keeper: Real path of the file that stays.
        size: Bytes of each.
        sha256: Hash of both, as far as is known.
        saves: Bytes that are freed; 0 for all names of a copy but the last.
    """

    path: Path
    keeper: Path
    size: int
    sha256: str
    saves: int


@dataclass(frozen=True)
class LinkPlan:
    """The plan for `dedupe`.

    Attributes:
        symbolic: Whether the links are symbolic.
        links: Paths to replace, grouped by keeper.
        skipped: Paths that are not replaced, and why.
    """

    symbolic: bool
    links: tuple[PlannedLink, ...]
    skipped: tuple[tuple[Path, str], ...]

    @property
    def saves(self) -> int:
        """Bytes that the plan frees."""
        return sum(link.saves for link in self.links)


@dataclass
class Dedupe:
    """The result of `dedupe` or `undo`.

    Attributes:
        changed: Paths that became links, or separate files again.
        saved: Bytes that were freed; for `undo`, bytes that were used again.
        skipped: Paths that were not changed, and why.
    """

    changed: list[Path] = field(default_factory=list)
    saved: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def settle(database: Database) -> None:
    """Finish or revert what a killed command left half done.

    `dedupe` and `undo` do it too. Before a plan is made it is more: a copy that is put back has
    to be among the copies that are found.

    Args:
        database: The catalog.

    Raises:
        ResultError: Another process replaces files, or the journal cannot be written.
    """
    with alone(database.path):
        recover(database)


def plan_links(groups: Iterable[DuplicateGroup], symbolic: bool = False) -> LinkPlan:
    """Plan which copies become links to which file.

    The keeper is the first copy of its group (see `DuplicateGroup`), or for hard links the first
    copy on each disk. Three kinds of copies are skipped: those that would free nothing, those
    with more readers or another owner than the keeper, and, for symbolic links, those of stores
    that follow links when they remove files.

    Args:
        groups: From `find_duplicates`.
        symbolic: Use symbolic links instead of hard links.
    """
    links: list[PlannedLink] = []
    skipped: list[tuple[Path, str]] = []
    for group in groups:
        keepers: dict[int, Copy] = {}
        for copy in group.copies:
            disk = 0 if symbolic else copy.identity.device
            keeper = keepers.setdefault(disk, copy)
            if copy is keeper:
                if copy is not group.copies[0]:
                    why = "on another disk than the copy that stays: --link symbolic would do"
                    skipped.append((copy.names[0], why))
                continue
            why = _objection(copy, keeper, symbolic)
            if why:
                skipped += [(name, why) for name in copy.names]
                continue
            for name in copy.names:
                saves = group.size if name == copy.names[-1] else 0
                links.append(PlannedLink(name, keeper.names[0], group.size, group.sha256, saves))
    return LinkPlan(symbolic, tuple(links), tuple(skipped))


def dedupe(
    database: Database,
    plan: LinkPlan,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> Dedupe:
    """Carry out a plan; files that have changed since the plan are skipped.

    Args:
        database: The catalog.
        plan: From `plan_links`.
        on_bytes: Called with the number of bytes of each block that was hashed: each keeper is
            hashed once, each copy before and after.

    Raises:
        ResultError: Another process replaces files, or the journal cannot be written.
    """
    done, batch = Dedupe(), secrets.token_hex(4)
    hashed: dict[Path, tuple[str, FileIdentity] | OSError] = {}
    with alone(database.path):
        done.skipped += recover(database)
        for planned in plan.links:
            keeper = planned.keeper
            if keeper not in hashed:
                hashed[keeper] = _hash(keeper, on_bytes)
            outcome = hashed[keeper]
            if isinstance(outcome, OSError):
                done.skipped.append((planned.path, f"{keeper}: {_why(outcome)}"))
                continue
            sha256, identity = outcome
            if sha256 != planned.sha256:
                why = f"{keeper} does not have the content that its name or an older hash promised"
                done.skipped.append((planned.path, why))
                # The new hash is saved, so that the next search does not group them again.
                keep_hash(database, [], sha256, identity)
                continue
            try:
                frees = planned.path.lstat().st_nlink == 1
                if not identify(keeper.lstat()).is_unchanged_since(identity):
                    raise Refused(f"{keeper} changed meanwhile")
                replace_by_link(
                    *(database, batch, planned.path, keeper, plan.symbolic),
                    *(identity, sha256, on_bytes),
                )
            except Refused as refusal:
                done.skipped.append((planned.path, str(refusal)))
            except OSError as error:
                done.skipped.append((planned.path, _why(error)))
            else:
                done.changed.append(planned.path)
                done.saved += planned.size if frees else 0
                # A new link changes the keeper's ctime, and so its identity: save its hash again.
                keep_hash(database, [], sha256, identify(keeper.lstat()))
    return done


def undoable(database: Database, everything: bool = False) -> list[Link]:
    """Links that can be replaced by copies: those of the last command, or all."""
    links = load_links(database, ("done",))
    return links if everything else [link for link in links if link.batch == links[-1].batch]


def undo(database: Database, everything: bool = False) -> Dedupe:
    """Make files that became links separate files again.

    Args:
        database: The catalog.
        everything: Undo all commands, not only the last.

    Raises:
        ResultError: There is too little space, another process replaces files, or the journal
            cannot be written.
    """
    done = Dedupe()
    with alone(database.path):
        done.skipped += recover(database)
        links = undoable(database, everything)
        _require_space(links)
        # The last link first: a keeper may have become a link later.
        for link in reversed(links):
            try:
                before = link.path.stat()
                take_back(database, link)
            except Refused as refusal:
                done.skipped.append((link.path, str(refusal)))
            except FileNotFoundError:
                done.skipped.append((link.path, "it does not exist any more"))
            except OSError as error:
                done.skipped.append((link.path, _why(error)))
            else:
                done.changed.append(link.path)
                if not os.path.samestat(before, link.path.stat()):
                    done.saved += link.size
    return done


def _objection(copy: Copy, keeper: Copy, symbolic: bool) -> str:
    """Why a copy must stay; "" if it may become a link."""
    if not copy.is_known:
        return f"has {copy.links} names of which the catalog knows {len(copy.names)}"
    if symbolic and STORES[copy.store].kept_whole:
        return f"{STORES[copy.store].title} follows links when it removes files"
    try:
        mine, kept = copy.names[0].stat(), keeper.names[0].stat()
    except OSError as error:
        return _why(error)
    if (mine.st_uid, mine.st_gid) != (kept.st_uid, kept.st_gid):
        return "belongs to someone else than the copy that stays"
    if stat.S_IMODE(mine.st_mode) & ~stat.S_IMODE(kept.st_mode) & 0o444:
        return "may be read by more people than the copy that stays"
    return ""


def _require_space(links: Sequence[Link]) -> None:
    needed: dict[int, tuple[Path, int]] = {}
    for link in links:
        try:
            device = link.path.parent.stat().st_dev
        except OSError:
            continue
        folder, size = needed.get(device, (link.path.parent, 0))
        needed[device] = (folder, size + link.size)
    for folder, size in needed.values():
        free = shutil.disk_usage(folder).free
        if size > free:
            raise ResultError(
                f"taking the links back needs {format_size(size)} on the disk of {folder}, "
                f"which has {format_size(free)} free",
                "Free space there, and run the command again",
            )


def _hash(path: Path, on_bytes: Callable[[int], None]) -> tuple[str, FileIdentity] | OSError:
    try:
        return hash_file(path, on_bytes)
    except OSError as error:
        return error


def _why(error: OSError) -> str:
    return error.strerror or str(error)

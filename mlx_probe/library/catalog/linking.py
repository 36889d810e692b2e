"""Replaces one path by a link, and back; at any moment the path has the right content.

Each step is written to the journal first. The copy keeps a second name until the link has been
read back, so that the same file can be restored whatever goes wrong.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mlx_probe.core.files import read_blocks
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.hashing import FileIdentity, hash_file, identify
from mlx_probe.library.catalog.link_journal import Link, load_links, plan_link, set_state
from mlx_probe.library.catalog.open_files import is_being_written

__all__ = ["Refused", "recover", "replace_by_link", "take_back"]


class Refused(Exception):  # noqa: N818  nothing failed
    """The path is not changed; the text says why."""


def replace_by_link(
    database: Database,
    batch: str,
    path: Path,
    keeper: Path,
    symbolic: bool,
    expected: FileIdentity,
    sha256: str,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> None:
    """Make a path a link to a file with the same content.

    Args:
        database: The catalog; its journal is written first.
        batch: Id of the command in the journal.
        path: Real path of the copy.
        keeper: Real path of the file to link to, hashed just before.
        symbolic: Whether to make a symbolic link.
        expected: Identity of the keeper when it was hashed.
        sha256: Hash of the keeper.
        on_bytes: Called with the number of bytes of each block that was hashed.

    Raises:
        Refused: A condition does not hold; the path is not changed.
        OSError: The system refuses; the path is not changed.
        ResultError: The journal cannot be written.
    """
    status = path.lstat()
    if os.path.samestat(status, keeper.lstat()):
        # The journal would record the mode and times of the link, not of a copy.
        raise Refused("it is a link to that file already")
    if is_being_written(path) or is_being_written(keeper):
        raise Refused("a program has it open for writing")
    actual, before = hash_file(path, on_bytes)
    if actual != sha256:
        raise Refused("its content is not that of the file that would stay")
    if not before.is_unchanged_since(identify(status)):
        raise Refused("it changed while it was read")
    link = plan_link(database, batch, path, keeper, symbolic, sha256, status)
    try:
        os.link(path, link.backup, follow_symlinks=False)
        if symbolic:
            link.fresh.symlink_to(keeper)
        else:
            os.link(keeper, link.fresh, follow_symlinks=False)
        if not identify(link.fresh.stat()).is_unchanged_since(expected):
            raise Refused("the file that would stay changed meanwhile")
        if not _unchanged(path, before) or is_being_written(path):
            raise Refused("it changed meanwhile")
        link.fresh.replace(path)
        _flush(path.parent)
        # From here on nobody can open the copy by its path. Earlier writes show up here.
        if not _unchanged(link.backup, before) or is_being_written(link.backup):
            raise Refused("a program wrote into it meanwhile")
        if hash_file(path, on_bytes)[0] != sha256:
            raise Refused("the link does not read as the copy did")
    except BaseException:
        _put_back(database, link)
        raise
    set_state(database, link, "linked")
    _finish(database, link)


def take_back(database: Database, link: Link) -> None:
    """Replace a link by a separate file again, with the mode and times that the copy had.

    Args:
        database: The catalog.
        link: A link in state "done".

    Raises:
        Refused: The path is not that link any more; it is not changed.
        OSError: The system refuses; the path is not changed.
        ResultError: The journal cannot be written.
    """
    status = link.path.lstat()
    if not link.symbolic and status.st_nlink == 1 and not link.path.is_symlink():
        # The other names were removed: the path is a separate file already.
        set_state(database, link, "undone")
        return
    if not _is_link(link):
        raise Refused("it is no longer the link that was put there")
    set_state(database, link, "undoing")
    try:
        _copy_checked(link)
        os.chmod(link.fresh, link.mode)  # noqa: PTH101  beside utime, which has no other name
        os.utime(link.fresh, ns=(link.atime_ns, link.mtime_ns))
        link.fresh.replace(link.path)
        _flush(link.path.parent)
    except BaseException:
        _settle_undoing(database, link)
        raise
    set_state(database, link, "undone")


def recover(database: Database) -> list[tuple[Path, str]]:
    """Finish or revert what a killed process left half done.

    Returns:
        Paths that could not be checked, and why; the next command tries them again.

    Raises:
        ResultError: The journal cannot be read or written.
    """
    troubles = []
    for link in load_links(database, ("planned", "linked", "undoing")):
        try:
            # Fails if the disk is not mounted now.
            link.path.parent.stat()
            {"planned": _put_back, "linked": _finish, "undoing": _settle_undoing}[link.state](
                database, link
            )
        except OSError as error:
            troubles.append((link.path, os.strerror(error.errno or 0)))
    return troubles


def _put_back(database: Database, link: Link) -> None:
    """Restore the copy at its path after any step of `replace_by_link`; remove the rest."""
    if os.path.lexists(link.backup):
        if not os.path.lexists(link.path) or (
            # Renaming between two names of one file does nothing.
            not _same_file(link.backup, link.path) and _is_link(link)
        ):
            link.backup.replace(link.path)
            _flush(link.path.parent)
        else:
            link.backup.unlink()
    with suppress(FileNotFoundError):
        link.fresh.unlink()
    set_state(database, link, None)


def _finish(database: Database, link: Link) -> None:
    """Remove the second name of the copy; the link is at its path."""
    if os.path.lexists(link.backup):
        if os.path.lexists(link.path):
            link.backup.unlink()
        else:
            # Somebody removed the link: this may be the last copy of the content.
            link.backup.replace(link.path)
        _flush(link.path.parent)
    set_state(database, link, "done")


def _settle_undoing(database: Database, link: Link) -> None:
    with suppress(FileNotFoundError):
        link.fresh.unlink()
    still = os.path.lexists(link.path) and _is_link(link)
    set_state(database, link, "done" if still else "undone")


def _is_link(link: Link) -> bool:
    """Whether the path still is the link that was made."""
    if link.symbolic:
        return link.path.is_symlink() and link.path.readlink() == link.keeper
    if link.path.is_symlink() or not link.path.is_file():
        return False
    if link.keeper.is_file():
        return _same_file(link.path, link.keeper)
    # Without the keeper only the content can be compared.
    return hash_file(link.path)[0] == link.sha256


def _same_file(one: Path, other: Path) -> bool:
    return os.path.samestat(one.lstat(), other.lstat())


def _unchanged(path: Path, before: FileIdentity) -> bool:
    try:
        return identify(path.lstat()).is_unchanged_since(before)
    except FileNotFoundError:
        return False


def _copy_checked(link: Link) -> None:
    """Copy the content of a link to a new file, and read it back."""
    with suppress(FileNotFoundError):
        link.fresh.unlink()
    digest = hashlib.sha256()
    # Exclusive: never writes through a link that somebody else made.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with (
        link.path.open("rb") as source,
        os.fdopen(os.open(link.fresh, flags, 0o600), "wb") as target,
    ):
        for block in read_blocks(source):
            digest.update(block)
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    if digest.hexdigest() != link.sha256:
        raise Refused("its content has changed since it became a link; nothing was undone")
    if hash_file(link.fresh)[0] != link.sha256:
        raise OSError(errno.EIO, "the disk did not keep what was written", str(link.fresh))


def _flush(folder: Path) -> None:
    """Flush a folder, so that renames survive a power cut, where the system supports it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""One path replaced by a link and back, so that at any instant it has the right bytes.

The journal says what is about to happen before anything does. The copy keeps a second name
until the link has been read back, so whatever goes wrong, the very file takes its place again.
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
    """A path that stays as it is, and why."""


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
    """Make a path a link to a file that has the same bytes.

    Args:
        database: The catalog, whose journal is written first.
        batch: Names the command in the journal.
        path: Real path of the copy.
        keeper: Real path of the file to link to, hashed just now.
        symbolic: Whether the link is to be symbolic.
        expected: The keeper as it was when it was hashed.
        sha256: Of the keeper.
        on_bytes: Told of the bytes that have been hashed.

    Raises:
        Refused: The path stays as it was.
        OSError: The system refuses; the path stays as it was.
        ResultError: The journal cannot be written.
    """
    status = path.lstat()
    if os.path.samestat(status, keeper.lstat()):
        # Another link's mode and times would be taken for the copy's.
        raise Refused("it is a link to that file already")
    if is_being_written(path) or is_being_written(keeper):
        raise Refused("a program has it open for writing")
    found, before = hash_file(path, on_bytes)
    if found != sha256:
        raise Refused("its bytes are not those of the file that would stay")
    if not before.holds_as(identify(status)):
        raise Refused("it changed while it was looked at")
    link = plan_link(database, batch, path, keeper, symbolic, sha256, status)
    try:
        os.link(path, link.backup, follow_symlinks=False)
        if symbolic:
            link.fresh.symlink_to(keeper)
        else:
            os.link(keeper, link.fresh, follow_symlinks=False)
        if not identify(link.fresh.stat()).holds_as(expected):
            raise Refused("the file that would stay changed meanwhile")
        if not _unchanged(path, before) or is_being_written(path):
            raise Refused("it changed meanwhile")
        link.fresh.replace(path)
        _flush(path.parent)
        # Whoever wrote into the copy until now did it before this look.
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
    """Give a path bytes of its own again, with the mode and times it had.

    Args:
        database: The catalog.
        link: One that is done.

    Raises:
        Refused: The path is that link no longer; it stays as it is.
        OSError: The system refuses; the path stays as it was.
        ResultError: The journal cannot be written.
    """
    status = link.path.lstat()
    if not link.symbolic and status.st_nlink == 1 and not link.path.is_symlink():
        # The other names have gone: the bytes are its own already.
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
    """Bring to an end what a killed process left half done.

    Returns:
        Paths that could not be looked at, and why; they are tried again next time.

    Raises:
        ResultError: The journal cannot be read or written.
    """
    troubles = []
    for link in load_links(database, ("planned", "linked", "undoing")):
        try:
            # A disk that is not there now.
            link.path.parent.stat()
            {"planned": _put_back, "linked": _finish, "undoing": _settle_undoing}[link.state](
                database, link
            )
        except OSError as error:
            troubles.append((link.path, os.strerror(error.errno or 0)))
    return troubles


def _put_back(database: Database, link: Link) -> None:
    """The copy at its path again, nothing else left; from any step of `replace_by_link`."""
    if os.path.lexists(link.backup):
        if not os.path.lexists(link.path) or (
            # To rename one name of a file to another of the same does nothing.
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
    """The link at its path, the copy's second name gone."""
    if os.path.lexists(link.backup):
        if os.path.lexists(link.path):
            link.backup.unlink()
        else:
            # Whoever removed the link: these may be the last of the bytes.
            link.backup.replace(link.path)
        _flush(link.path.parent)
    set_state(database, link, "done")


def _settle_undoing(database: Database, link: Link) -> None:
    with suppress(FileNotFoundError):
        link.fresh.unlink()
    still = os.path.lexists(link.path) and _is_link(link)
    set_state(database, link, "done" if still else "undone")


def _is_link(link: Link) -> bool:
    """Whether what lies at the path is the link that was put there."""
    if link.symbolic:
        return link.path.is_symlink() and link.path.readlink() == link.keeper
    if link.path.is_symlink() or not link.path.is_file():
        return False
    if link.keeper.is_file():
        return _same_file(link.path, link.keeper)
    # Without the keeper only the bytes tell.
    return hash_file(link.path)[0] == link.sha256


def _same_file(one: Path, other: Path) -> bool:
    return os.path.samestat(one.lstat(), other.lstat())


def _unchanged(path: Path, before: FileIdentity) -> bool:
    try:
        return identify(path.lstat()).holds_as(before)
    except FileNotFoundError:
        return False


def _copy_checked(link: Link) -> None:
    """Write the bytes of a link to a file of their own, and read it back."""
    with suppress(FileNotFoundError):
        link.fresh.unlink()
    digest = hashlib.sha256()
    # Never through a link that someone else put there.
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
        raise Refused("it no longer has the bytes that it had; nothing was taken back")
    if hash_file(link.fresh)[0] != link.sha256:
        raise OSError(errno.EIO, "the disk did not keep what was written", str(link.fresh))


def _flush(folder: Path) -> None:
    """Make a change of names survive a power cut, where the system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)

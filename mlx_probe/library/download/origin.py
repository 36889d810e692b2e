"""Files that are on this disk already, linked or copied to where they are wanted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from mlx_probe.core.errors import SourceError
from mlx_probe.source.manifest import ManifestFile, record
from mlx_probe.source.transfer.destination import Destination, FolderDestination
from mlx_probe.source.transfer.digest import PublishedFile, hash_file
from mlx_probe.source.transfer.listing import ModelListing

__all__ = ["take"]

_PIECE = 1 << 20


def take(
    listing: ModelListing, name: str, on_bytes: Callable[[int], None] = lambda count: None
) -> ManifestFile:
    """Link or copy a file to its place, and hash it there.

    Args:
        listing: With an ``origin``.
        name: The file.
        on_bytes: Called with the bytes of each piece read; may raise.

    Raises:
        SourceError: Its place is taken by a folder or lies beyond a link, or the copy differs.
        OSError: The disk refused.
    """
    destination: Destination = listing.destination
    if listing.origin is None or not isinstance(destination, FolderDestination):
        raise AssertionError("only folders are filled from folders")
    source = (listing.origin / name).resolve()
    file = listing.files[name]
    path = destination.prepare(name)
    if listing.link:
        # Beside its place, so that it gets there by one rename.
        with TemporaryDirectory(prefix=".mlx-probe-", dir=destination.folder) as folder:
            new = Path(folder, "link")
            try:
                new.hardlink_to(source)
            except OSError:
                # Another disk, or one without hard links.
                new.symlink_to(source)
            new.replace(path)
        # `replace` leaves both where they are names of one file already.
        hasher = hash_file(path, file, on_bytes)
        return record(PublishedFile(name, hasher.size, hasher.sha256), path)
    before = hash_file(source, file)
    with destination.lock(before.sha256):
        with destination.open_partial(before.sha256) as partial, source.open("rb") as content:
            partial.truncate(0)
            while piece := content.read(_PIECE):
                partial.write(piece)
                on_bytes(len(piece))
            os.fsync(partial.fileno())
            partial.seek(0)
            if not before.size:
                destination.keep(file, before.sha256)
        if before.size:
            destination.keep(file, before.sha256)
    after = hash_file(path, file)
    if after.sha256 != before.sha256:
        raise SourceError(f"{path} differs from {source} after copying", "Check the disk")
    return record(PublishedFile(name, after.size, after.sha256), path)

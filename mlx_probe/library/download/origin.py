"""Files that are on this disk already, linked or copied to the destination."""

from __future__ import annotations

import os
from collections.abc import Callable

from mlx_probe.core.errors import SourceError
from mlx_probe.core.files import atomic_replace, read_blocks, write_all
from mlx_probe.source.manifest import ManifestFile, record
from mlx_probe.source.transfer.destination import Destination, FolderDestination
from mlx_probe.source.transfer.digest import PublishedFile, hash_file
from mlx_probe.source.transfer.listing import ModelListing

__all__ = ["link_or_copy"]


def link_or_copy(
    listing: ModelListing, name: str, on_bytes: Callable[[int], None] = lambda count: None
) -> ManifestFile:
    """Link or copy a file to the destination, and hash it there.

    Args:
        listing: With an ``origin``.
        name: The file.
        on_bytes: Called with the bytes of each piece read; may raise.

    Raises:
        SourceError: A folder has its name, its folder is a link, or the copy differs.
        OSError: The disk refused.
    """
    destination: Destination = listing.destination
    if listing.origin is None or not isinstance(destination, FolderDestination):
        raise AssertionError("only folders are filled from folders")
    source = (listing.origin / name).resolve()
    file = listing.files[name]
    path = destination.prepare(name)
    if listing.link:
        with atomic_replace(path, scratch=destination.folder, flush=False) as new:
            try:
                new.hardlink_to(source)
            except OSError:
                # Another disk, or one without hard links.
                new.symlink_to(source)
        hasher = hash_file(path, file, on_bytes)
        return record(PublishedFile(name, hasher.size, hasher.sha256), path)
    before = hash_file(source, file)
    with destination.lock(before.sha256):
        with destination.open_partial(before.sha256) as partial, source.open("rb") as content:
            partial.truncate(0)
            for block in read_blocks(content, on_bytes):
                write_all(partial, block)
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

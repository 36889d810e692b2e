"""Which files of a model are on this disk, and which have to be fetched."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlx_probe.core.errors import SourceError
from mlx_probe.source.manifest import Manifest, ManifestFile, read_manifest, record
from mlx_probe.source.transfer.digest import Hasher, PublishedFile, hash_file
from mlx_probe.source.transfer.disk_space import existing_folder
from mlx_probe.source.transfer.listing import ModelListing
from mlx_probe.source.transfer.request import FileRequest
from mlx_probe.source.transfer.threads import Stop, in_threads

__all__ = ["DownloadPlan", "Item", "make_plan"]

State = Literal["verified", "unverified", "wrong", "partial", "missing"]


@dataclass(frozen=True)
class Item:
    """A wanted file.

    Attributes:
        file: What the publisher says of it.
        state: "verified": its hash is right. "unverified": its length is right. "wrong": its
            content is wrong. "partial": a part of it is there. "missing": nothing is there.
        have: Bytes that are there.
        request: How to fetch it; None if it is there, or comes from this disk.
        entry: Its record, if it is verified.
    """

    file: PublishedFile
    state: State
    have: int
    request: FileRequest | None = None
    entry: ManifestFile | None = None

    @property
    def to_fetch(self) -> int:
        """Bytes to fetch."""
        return max(0, (self.file.size or 0) - self.have)


@dataclass(frozen=True)
class DownloadPlan:
    """A download before it begins.

    Attributes:
        listing: Where the files come from and go to.
        items: The wanted files.
        free: Bytes free on the disk they go to.
    """

    listing: ModelListing
    items: tuple[Item, ...]
    free: int

    @property
    def size(self) -> int:
        """Bytes of all wanted files."""
        return sum(item.file.size or 0 for item in self.items)

    @property
    def to_fetch(self) -> int:
        """Bytes to fetch."""
        return sum(item.to_fetch for item in self.items)


def make_plan(
    listing: ModelListing,
    names: Sequence[str],
    workers: int,
    hashing: bool = True,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> DownloadPlan:
    """Check which of the wanted files are there.

    Args:
        listing: The model.
        names: The wanted files.
        workers: Files hashed at a time.
        hashing: Whether to hash files for which no manifest vouches.
        on_bytes: Called, in several threads, with the bytes of each piece hashed.

    Raises:
        SourceError: A link leads out of the folder.
        OSError: And whatever else huggingface_hub raises; see `explained`.
    """
    try:
        manifest = read_manifest(listing.destination.folder)
    except SourceError:
        # Damaged: it vouches for nothing.
        manifest = None

    stop = Stop()
    count = stop.checked(on_bytes)

    def item(name: str) -> Item:
        return _item(listing, name, manifest, hashing, count)

    items = tuple(in_threads(item, names, workers, stop))
    free = shutil.disk_usage(existing_folder(listing.destination.folder)).free
    return DownloadPlan(listing, items, free)


def _item(
    listing: ModelListing,
    name: str,
    manifest: Manifest | None,
    hashing: bool,
    on_bytes: Callable[[int], None],
) -> Item:
    request = listing.request(name, False) if listing.request else None
    file = request.file if request else listing.files[name]
    path: Path | None = listing.destination.find(file)
    if path is None:
        have = listing.destination.partial_size(request.key) if request else 0
        if listing.link:
            have = file.size or 0
        state: State = "partial" if have and request else "missing"
        if (listing.destination.folder / name).exists():
            state = "wrong"
        return Item(file, state, have, request)
    size = file.size if file.size is not None else path.stat().st_size
    entry = manifest.find(name) if manifest else None
    # A manifest says what the file was; only the publisher says what it should be.
    if entry and file.sha256 in (None, entry.sha256) and entry.vouches_for(path):
        same = file.sha256 is not None or (manifest and manifest.revision == listing.revision)
        if same:
            return Item(file, "verified", size, None, entry)
    if not hashing:
        return Item(file, "unverified", size)
    hasher = hash_file(path, file, on_bytes)
    if hasher.mismatch(file) or (listing.origin is not None and _differs(listing, name, hasher)):
        again = listing.request(name, True) if listing.request else None
        return Item(
            file, "wrong", listing.destination.partial_size(again.key) if again else 0, again
        )
    known = PublishedFile(name, size, hasher.sha256)
    return Item(known, "verified", size, None, record(known, path))


def _differs(listing: ModelListing, name: str, hasher: Hasher) -> bool:
    """Whether a file differs from the one that it would be linked to or copied from."""
    origin = (listing.origin or Path()) / name
    path = listing.destination.folder / name
    if origin.samefile(path):
        return False
    return hash_file(origin, listing.files[name]).sha256 != hasher.sha256

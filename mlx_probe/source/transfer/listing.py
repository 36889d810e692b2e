"""What a source has of a model, and how to get it: from servers, or from a folder on this disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlx_probe.core.records import ModelFiles
from mlx_probe.source.transfer.destination import Destination, FolderDestination
from mlx_probe.source.transfer.digest import PublishedFile
from mlx_probe.source.transfer.request import FileRequest

__all__ = ["ModelListing", "listing_of"]


@dataclass(frozen=True)
class ModelListing:
    """A model's files at one revision, and how to get them.

    Attributes:
        source: Key of `SOURCES`.
        model: What the source calls the model.
        revision: Commit or version; "" where the source has none.
        endpoint: Address of the server that listed the files, without credentials; "" if none
            did.
        files: All files by name.
        chosen: Names of those that an analysis needs.
        destination: Where they go.
        request: How to get a file over the network, given its name and whether the file on this
            disk is known to be wrong; None where the files are on this disk.
        origin: Folder on this disk that has the files; None where they come over the network.
        link: Whether files of ``origin`` are linked rather than copied.
        on_complete: Called when all wanted files are at the destination.
    """

    source: str
    model: str
    revision: str
    endpoint: str
    files: Mapping[str, PublishedFile]
    chosen: tuple[str, ...]
    destination: Destination
    request: Callable[[str, bool], FileRequest] | None = None
    origin: Path | None = None
    link: bool = False
    on_complete: Callable[[], None] = field(default=lambda: None)


def listing_of(
    source: str,
    model: str,
    revision: str,
    origin: Path,
    paths: Iterable[Path],
    needed: ModelFiles,
    folder: Path,
    link: bool,
) -> ModelListing:
    """List a model that is in a folder on this disk.

    Args:
        source: See `ModelListing`.
        model: See `ModelListing`.
        revision: See `ModelListing`.
        origin: The folder.
        paths: Files in it.
        needed: The files that an analysis needs; added to ``paths``.
        folder: Where they go.
        link: Whether they are linked rather than copied.

    Raises:
        OSError: The folder cannot be read.
    """
    beside = [path for path in (needed.index, needed.config) if path is not None]
    wanted = (*beside, *needed.weights)
    names = {path: path.relative_to(origin).as_posix() for path in (*paths, *wanted)}
    return ModelListing(
        source=source,
        model=model,
        revision=revision,
        endpoint="",
        files={name: PublishedFile(name, path.stat().st_size) for path, name in names.items()},
        chosen=tuple(names[path] for path in wanted),
        destination=FolderDestination(folder),
        origin=origin,
        link=link,
    )

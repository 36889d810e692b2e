"""What a source can give of a model, and how: by address, or from a folder on this disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mlx_probe.core.records import ModelRef
from mlx_probe.source.transfer.batch import FileRequest
from mlx_probe.source.transfer.destination import Destination
from mlx_probe.source.transfer.digest import PublishedFile
from mlx_probe.source.transfer.retry import RetryPolicy

__all__ = ["ModelListing", "Supplier", "listing_of"]


@dataclass(frozen=True)
class ModelListing:
    """A model's files at one revision, and how to get them.

    Attributes:
        source: Key of `SOURCES`.
        model: What the source calls the model.
        revision: Commit or version; "" where the source has none.
        endpoint: Address that told what the files are, without credentials; "" if none did.
        files: All files by name.
        chosen: Names of those that an analysis needs.
        destination: Where they go.
        request: How to get a file over the network, given its name and whether what is there is
            known to be wrong; None where the files are on this disk.
        origin: Folder on this disk that has the files; None where they come over the network.
        link: Whether files of ``origin`` are linked rather than copied.
        on_complete: Called when all that was wanted is there.
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


class Supplier(Protocol):
    """Finds out what a source has of a model."""

    def __call__(
        self,
        ref: ModelRef,
        folder: Path | None = None,
        endpoints: Sequence[str] = (),
        retry: RetryPolicy | None = None,
        dry: bool = False,
        on_bytes: Callable[[int], None] = lambda count: None,
    ) -> ModelListing:
        """Look a model up.

        Args:
            ref: The model.
            folder: Where its files are to go; None for the source's own cache.
            endpoints: Mirrors to ask, in order; none for the usual one.
            retry: When to give up.
            dry: Whether nothing may be written to ``folder``.
            on_bytes: Called with the number of bytes of the model's files that have just come
                over the network on the way; may raise.
        """


def listing_of(
    source: str,
    model: str,
    revision: str,
    origin: Path,
    paths: Iterable[Path],
    needed: Iterable[Path | None],
    destination: Destination,
    link: bool,
) -> ModelListing:
    """What a folder on this disk has.

    Args:
        source: See `ModelListing`.
        model: See `ModelListing`.
        revision: See `ModelListing`.
        origin: The folder.
        paths: Files in it.
        needed: Those of them that an analysis needs; None counts for nothing.
        destination: Where they go.
        link: Whether they are linked rather than copied.

    Raises:
        OSError: The folder cannot be read.
    """
    sizes = {path.relative_to(origin).as_posix(): path.stat().st_size for path in paths}
    files = {name: PublishedFile(name, size) for name, size in sizes.items()}
    chosen = tuple(path.relative_to(origin).as_posix() for path in needed if path is not None)
    return ModelListing(
        source, model, revision, "", files, chosen, destination, origin=origin, link=link
    )

"""Sources: model references to verified files on this disk, or to files read over the network.

A new source is one file with a `Source` and one line in `SOURCES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.source.hub import HUB
from mlx_probe.source.local import LOCAL
from mlx_probe.source.protocol import ListingOptions, Source
from mlx_probe.source.pypi import PYPI
from mlx_probe.source.reference import unknown_reference
from mlx_probe.source.url import URL

if TYPE_CHECKING:
    from mlx_probe.source.transfer.listing import ModelListing
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = [
    "SOURCES",
    "ListingOptions",
    "Source",
    "list_model",
    "model_forms",
    "parse_reference",
    "resolve",
]

# In the order in which they are asked whether a reference is theirs: what exists on this disk
# wins.
SOURCES: dict[str, Source] = {"local": LOCAL, "hub": HUB, "pypi": PYPI, "url": URL}


def model_forms() -> list[tuple[str, str]]:
    """What MODEL may be: a title and examples of each source, in the order of `SOURCES`."""
    return [(source.title, source.example) for source in SOURCES.values()]


def parse_reference(text: str, revision: str | None = None) -> ModelRef:
    """Say what a model reference means; what exists on this disk wins.

    Args:
        text: A reference in one of the forms of `SOURCES`: ``path``,
            ``[hf:]owner/name[@revision][:file]``, ``pypi:package[==version][:file]`` or
            ``https://host/file[#sha256=hex]``.
        revision: Revision given apart from the reference.

    Raises:
        SourceError: None of these forms, or a path that does not exist.
        ConfigError: Two different revisions, one for a path or an address, or no version of
            a package.
    """
    for source in SOURCES.values():
        if ref := source.parse(text, revision):
            return ref
    raise unknown_reference(text, [source.hint for source in SOURCES.values()])


def resolve(
    text: str,
    revision: str | None = None,
    progress: DownloadProgress | None = None,
    remote: bool = False,
) -> ModelFiles:
    """The files of a model, fetched if need be.

    Args:
        text: See `parse_reference`.
        revision: Commit, branch, tag or version.
        progress: Shows how far a download is, and is closed after it; None for nothing.
        remote: Whether the weight files stay where they are, to be read over the network.

    Raises:
        SourceError: The model cannot be found or fetched.
        ConfigError: The reference and the revision contradict each other, or the model cannot be
            read over the network.
        CheckpointError: The sharding index is damaged.
    """
    ref = parse_reference(text, revision)
    source = SOURCES[ref.source]
    fetch = source.fetch_remote if remote else source.fetch
    if fetch is None:
        where = [other.where for other in SOURCES.values() if other.fetch_remote]
        raise ConfigError(
            f"{ref.text} is neither {' nor '.join(where)}",
            "Drop --remote, or write hf:owner/name",
        )
    try:
        files = fetch(ref, progress)
    finally:
        if progress is not None:
            progress.close()
    for path in (files.path, *files.weights):
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            # Tables and metadata are UTF-8 and name the files.
            raise SourceError(f"{str(path)!r} is not a UTF-8 name", "Rename it") from error
    return files


def list_model(ref: ModelRef, options: ListingOptions) -> ModelListing:
    """List a model's files for a download; none of its weights is fetched.

    Args:
        ref: From `parse_reference`.
        options: Folder, mirrors, retries.

    Raises:
        SourceError: The model cannot be found.
        ConfigError: Mirrors for a source that has none, or no folder where one is needed.
        CheckpointError: The sharding index is damaged.
        OSError: See `Source.explained`.
    """
    source = SOURCES[ref.source]
    if options.endpoints and not source.has_mirrors:
        raise ConfigError("--endpoint is for the Hub and its mirrors", "Drop it")
    return source.list_model(ref, options)

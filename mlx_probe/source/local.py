"""Models on this machine's disk."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.core.formats import weight_suffixes
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.source.naming import local_name
from mlx_probe.source.parts import part_of
from mlx_probe.source.protocol import Form, ListingOptions, Source
from mlx_probe.source.reference import exists
from mlx_probe.source.selection import PIPELINE, find_weights, select_file, select_files
from mlx_probe.source.snapshot import repository_of, snapshot_of

if TYPE_CHECKING:
    from mlx_probe.source.transfer.listing import ModelListing
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["LOCAL"]


def _parse(text: str, revision: str | None) -> ModelRef | None:
    if not exists(text):
        return None
    if revision:
        raise ConfigError(
            f"{text} is a local path, which has no revision {revision}", "Drop --revision"
        )
    return ModelRef(text, "local", text)


def _fetch(ref: ModelRef, progress: DownloadProgress | None = None) -> ModelFiles:
    """Find a model's files in a folder, or take one file as the whole model.

    Raises:
        SourceError: No weights there, only some parts of a model, or not readable.
        CheckpointError: The sharding index is damaged.
    """
    # Absolute, so that results say where the weights are, wherever the results are read.
    path = Path(ref.name).expanduser().absolute()
    try:
        if path.is_dir():
            return _fetch_folder(path, ref.file)
        if path.is_file() and path.suffix.lower() in ("", *weight_suffixes()):
            return _fetch_file(path)
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror}", "Check its permissions"
        ) from error
    raise SourceError(
        f"{path} {'is not a weight file' if path.exists() else 'does not exist'}",
        f"Give a folder, or a file that ends in {' or '.join(weight_suffixes())}",
    )


def _fetch_folder(path: Path, file: str | None) -> ModelFiles:
    folder = snapshot_of(path)
    if folder is None:
        folder, revision, (model_id, is_named) = path, "local", local_name(path, is_file=False)
    else:
        model_id, is_named, revision = repository_of(folder), True, folder.name
    listing = _list_folder(folder)
    if not find_weights(listing, file):
        listing |= _list_manifest(folder)
    if not find_weights(listing, file):
        listing |= _list_below(folder, PIPELINE in listing)
    selection = select_files(listing, str(path), file)
    return replace(selection.resolve(folder, model_id, revision, folder), is_named=is_named)


def _fetch_file(path: Path) -> ModelFiles:
    listing = _list_folder(path.parent)
    # Ollama's blobs have no suffix; the reader looks at their first bytes.
    selection = select_file(path.name, listing, str(path.parent))
    part = part_of(path.name)
    name, is_named = local_name(path, is_file=True)
    # Whichever part was named, it is the same model.
    first = path if part is None or part.total is None else path.parent / selection.weights[0]
    return replace(selection.resolve(path.parent, name, "local", first), is_named=is_named)


def _list_below(folder: Path, is_pipeline: bool) -> dict[str, int]:
    """Files in the folders of a pipeline.

    Raises:
        SourceError: It is none, and some of its folders have weights.
    """
    listings = {}
    for inner in sorted(folder.iterdir()):
        # Folders that may not be read have no weights for us either.
        with suppress(PermissionError):
            if inner.is_dir() and not inner.name.startswith("."):
                listings[inner.name] = _list_folder(inner)
    if is_pipeline:
        return {f"{name}/{n}": size for name, ls in listings.items() for n, size in ls.items()}
    filled = [name for name, listing in listings.items() if find_weights(listing)]
    if filled:
        more = f" and {len(filled) - 12} more" if len(filled) > 12 else ""
        raise SourceError(
            f"{folder} has no weights itself; its folders {', '.join(filled[:12])}{more} have some",
            f"Give one of them: {folder / filled[0]}",
        )
    return {}


def _list_model(ref: ModelRef, options: ListingOptions) -> ModelListing:
    """List files that a download links.

    Raises:
        SourceError: No weights there, or not readable.
        ConfigError: No folder to link them into.
        CheckpointError: The sharding index is damaged.
    """
    from mlx_probe.source.transfer.listing import listing_of

    if options.folder is None:
        raise ConfigError(
            f"{ref.text} is on this disk already", "Name a folder to link it into with --local-dir"
        )
    files = _fetch(ref)
    root = files.path if files.path.is_dir() else files.path.parent
    if options.folder.exists() and options.folder.resolve() == root.resolve():
        raise ConfigError(
            f"{options.folder} is the model's own folder", "Choose another --local-dir"
        )
    # Not the folders below: a single file may lie in a folder with much else.
    beside = [path for path in root.iterdir() if path.is_file()]
    return listing_of("local", str(root), "", root, beside, files, options.folder, link=True)


def _list_folder(folder: Path) -> dict[str, int]:
    # A cache's links to blobs count as what they point to; dangling ones are no files.
    return {entry.name: entry.stat().st_size for entry in folder.iterdir() if entry.is_file()}


def _list_manifest(folder: Path) -> dict[str, int]:
    """Files that our own download put deeper into a folder: packages have folders of their own."""
    from mlx_probe.source.manifest import read_manifest

    manifest = read_manifest(folder)
    listed = manifest.files if manifest else ()
    return {file.name: file.size for file in listed if (folder / file.name).is_file()}


LOCAL = Source(
    title="a folder or file",
    example="./Qwen3-0.6B, model.safetensors, model.gguf",
    hint="a folder or file",
    forms=(
        Form(("./my-model", "/models/Qwen3-0.6B"), "a folder with weights", "`local`"),
        Form(("model.safetensors", "model.gguf"), "one weight file", "`local`"),
    ),
    parse=_parse,
    fetch=_fetch,
    list_model=_list_model,
)

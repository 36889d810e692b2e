"""An existing tokenizer: a folder, a file, or a model reference, without its weights."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.tokenizer.older_layouts import OLDER_FILES, converted
from mlx_probe.lab.data.tokenizer.tokenizer import TOKENIZER_FILES, Tokenizer, open_tokenizer

if TYPE_CHECKING:
    from mlx_probe.source.transfer.listing import ModelListing

__all__ = ["find_tokenizer", "load_tokenizer"]

_REMEDY = "Give a folder with tokenizer.json, or train a tokenizer: sentencepiece or bytes"


def load_tokenizer(reference: str | Path) -> Tokenizer:
    """Read an existing tokenizer.

    Args:
        reference: A folder with tokenizer.json or older files, tokenizer.json itself, or a model
            reference.

    Raises:
        SourceError: There is none, it cannot be fetched, or it is damaged.
    """
    return open_tokenizer(find_tokenizer(reference))


def find_tokenizer(reference: str | Path) -> Path:
    """The folder of an existing tokenizer, fetched if need be; it has tokenizer.json.

    Raises:
        SourceError: There is none, or it cannot be fetched.
    """
    path = Path(reference).expanduser()
    if path.exists():
        return _on_disk(path)
    from mlx_probe.source import SOURCES, ListingOptions, parse_reference, resolve
    from mlx_probe.source.hub.errors import UnreachableError

    try:
        ref = parse_reference(str(reference))
    except SourceError as error:
        raise SourceError(f"no tokenizer {str(reference)!r}: {error.fact}", _REMEDY) from error
    if ref.source == "url":
        raise SourceError(f"{ref.text} is one file, without a tokenizer", _REMEDY)
    try:
        with SOURCES[ref.source].explained(ref):
            listing = SOURCES[ref.source].list_model(ref, ListingOptions())
            return _on_disk(_fetched(listing, ref.text))
    except UnreachableError:
        # A complete copy in the cache is enough.
        return _on_disk(resolve(str(reference)).path)


def _on_disk(path: Path) -> Path:
    from mlx_probe.source.snapshot import snapshot_of

    if path.name == "tokenizer.json":
        return path.parent
    folder = path if not path.is_dir() else snapshot_of(path) or path
    if (folder / "tokenizer.json").is_file():
        return folder
    if any((folder / name).is_file() for name in OLDER_FILES):
        return converted(folder)
    raise _none_there(str(path), [file.name for file in folder.glob("*.gguf")] or [path.name])


def _fetched(listing: ModelListing, text: str) -> Path:
    """The folder of a model's tokenizer, without the weights.

    Raises:
        SourceError: The model has none, or it cannot be fetched.
        OSError: See `Source.explained`.
    """
    # Beside the weights, or at the top where they lie deeper.
    inner = PurePosixPath(listing.chosen[-1]).parent
    for folder in (inner, PurePosixPath(".")):
        wanted = [str(folder / name) for name in (*TOKENIZER_FILES, *OLDER_FILES, "config.json")]
        names = [name for name in wanted if name in listing.files]
        if {PurePosixPath(name).name for name in names} & {"tokenizer.json", *OLDER_FILES}:
            break
    else:
        raise _none_there(text, listing.chosen)
    if listing.origin is not None:
        return listing.origin / folder
    _fetch(listing, names)
    return listing.destination.folder / folder


def _fetch(listing: ModelListing, names: list[str]) -> None:
    from mlx_probe.source.transfer.batch import fetch_files

    assert listing.request is not None  # it has no origin on this disk
    missing = [name for name in names if listing.destination.find(listing.files[name]) is None]
    if missing:
        fetch_files([listing.request(name, False) for name in missing], listing.destination)


def _none_there(where: str, names: list[str] | tuple[str, ...]) -> SourceError:
    if any(name.lower().endswith(".gguf") for name in names):
        return SourceError(
            f"{where} has its tokenizer inside a GGUF file, which is not read",
            "Give the model that the GGUF was made from, or its tokenizer.json",
        )
    return SourceError(f"{where} has no tokenizer.json", _REMEDY)

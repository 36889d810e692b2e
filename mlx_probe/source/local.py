"""Models on this machine's disk."""

from __future__ import annotations

from pathlib import Path

from mlx_probe.errors import SourceError
from mlx_probe.records import ModelFiles, ModelRef
from mlx_probe.source.selection import WEIGHT_SUFFIXES, Selection, config_name, select_files

__all__ = ["fetch"]


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
            selection = select_files(_list_folder(path), str(path), ref.file)
            return selection.resolve(path, path.name, "local", path)
        if path.is_file() and path.suffix.lower() in WEIGHT_SUFFIXES:
            config = config_name(path.name, _list_folder(path.parent))
            selection = Selection((path.name,), None, config)
            return selection.resolve(path.parent, path.stem, "local", path)
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror}", "Check its permissions"
        ) from error
    raise SourceError(
        f"{path} {'is not a weight file' if path.exists() else 'does not exist'}",
        f"Give a folder, or a file that ends in {' or '.join(WEIGHT_SUFFIXES)}",
    )


def _list_folder(folder: Path) -> dict[str, int]:
    # A cache's links to blobs count as what they point to; dangling ones are no files.
    return {entry.name: entry.stat().st_size for entry in folder.iterdir() if entry.is_file()}

"""An existing tokenizer: a folder, a tokenizer.json, or a model reference."""

from __future__ import annotations

from pathlib import Path

from mlx_probe.core.errors import SourceError

__all__ = ["find_tokenizer", "load_tokenizer"]

from mlx_probe.lab.data.tokenizer.tokenizer import Tokenizer, open_tokenizer


def load_tokenizer(reference: str | Path) -> Tokenizer:
    """Read an existing tokenizer.

    Args:
        reference: A folder with tokenizer.json, that file, or a model reference.

    Raises:
        SourceError: There is none, or it is damaged.
    """
    return open_tokenizer(find_tokenizer(reference))


def find_tokenizer(reference: str | Path) -> Path:
    """The folder of an existing tokenizer; it has tokenizer.json.

    Raises:
        SourceError: There is none.
    """
    path = Path(reference)
    if path.name == "tokenizer.json" and path.is_file():
        return path.parent
    if (path / "tokenizer.json").is_file():
        return path
    raise SourceError(
        f"{reference} has no tokenizer.json", "Give a folder with a tokenizer, or train one"
    )

"""What the folder of a result holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import write_text
from mlx_probe.runs.answers import IDENTITY, ITEMS, PREDICTIONS, RESULTS, read_object
from mlx_probe.runs.table.strict_json import document, encode

__all__ = ["claim", "finish"]


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Take a folder for answers that were made in one way.

    Args:
        folder: New, or one that was claimed before.
        identity: What decides the answers.

    Raises:
        ConfigError: It holds answers that were made in another way.
        ResultError: It cannot be written.
    """
    path, answers = folder / IDENTITY, folder / PREDICTIONS
    if folder.is_file():
        raise ConfigError(f"{folder} is a file", "Give a folder with --out")
    before = read_object(path) if path.exists() else None
    # Settings without an answer bind nobody.
    if before is not None and answers.exists() and answers.stat().st_size:
        names = [key for key in identity if before.get(key) != identity[key]]
        if names:
            raise ConfigError(
                f"{folder} holds answers that were made with other settings: {', '.join(names)}",
                "Choose another --out",
            )
    elif before != identity:
        write_text(path, document(identity) + "\n")


def finish(folder: Path, items: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> None:
    """Write what was measured; the results are written last.

    Raises:
        ResultError: The disk refused.
    """
    write_text(folder / ITEMS, "".join(encode(item) + "\n" for item in items))
    write_text(folder / RESULTS, document(results) + "\n")

"""The folder of an adapter, from a reference."""

from __future__ import annotations

from pathlib import Path

from mlx_probe.source import resolve

__all__ = ["find_adapter_folder"]


def find_adapter_folder(reference: str) -> Path:
    """The folder of an adapter, fetched if need be.

    Args:
        reference: A model reference, or the folder of a tuning run.

    Raises:
        SourceError: The adapter cannot be had.
    """
    path = Path(reference).expanduser()
    if path.name == "run_meta.json":
        path = path.parent
    if (path / "run_meta.json").is_file() and (path / "adapter").is_dir():
        return path / "adapter"
    return resolve(reference).weights[0].parent

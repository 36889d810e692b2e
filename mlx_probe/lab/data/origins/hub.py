"""Data sets of the Hugging Face Hub: `hub:owner/name[@revision][:glob]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.lab.data.origins.protocol import Origin
from mlx_probe.lab.data.texts import format_of
from mlx_probe.lab.data.texts.archive import is_about_package

if TYPE_CHECKING:
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["HUB"]


def _find(source: str, progress: DownloadProgress | None) -> dict[str, Path] | None:
    from mlx_probe.source.hub.data_set import fetch_data_set, parse_data_set

    ref = parse_data_set(source)
    if ref is None:
        return None
    folder, names = fetch_data_set(ref, is_text, progress)
    return {name: folder / name for name in names}


def is_text(name: str) -> bool:
    """Whether a file of a package or data set is text, and not about it."""
    return format_of(name) is not None and not is_about_package(name)


HUB = Origin("a data set of the Hub", "hub:owner/name, hub:owner/name:data/train-*.parquet", _find)

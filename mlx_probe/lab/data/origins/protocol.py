"""What an origin of text is: one record in `ORIGINS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["Find", "Origin"]

# Given a source as the user names it, and what shows a download: the source's files by name, in
# the order in which they are read; None where the text is not one of the origin's forms. Raises
# SourceError where there are none, or they cannot be had.
Find = Callable[[str, "DownloadProgress | None"], "dict[str, Path] | None"]


@dataclass(frozen=True)
class Origin:
    """Where text comes from.

    Attributes:
        title: What a source of it names, for the documentation.
        example: Sources as users write them.
        find: Gets the files to this disk.
    """

    title: str
    example: str
    find: Find

"""Where text comes from.

A new origin is one file with an `Origin` and one line in `ORIGINS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.origins.hub import HUB
from mlx_probe.lab.data.origins.local import LOCAL
from mlx_probe.lab.data.origins.protocol import Origin
from mlx_probe.lab.data.origins.pypi import PYPI

if TYPE_CHECKING:
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["ORIGINS", "Origin", "find_texts"]

# In the order in which they are asked: what exists on this disk wins.
ORIGINS: dict[str, Origin] = {"local": LOCAL, "hub": HUB, "pypi": PYPI}


def find_texts(source: str, progress: DownloadProgress | None = None) -> dict[str, Path]:
    """The files of a source by name, in the order in which they are read.

    Args:
        source: See `DataConfig.sources`.
        progress: Shows how far a download is; None for nothing.

    Raises:
        SourceError: It does not exist, has no text, or cannot be fetched.
    """
    for origin in ORIGINS.values():
        if (found := origin.find(source, progress)) is not None:
            return found
    raise SourceError(
        f"{source} does not exist",
        "Give a file, a folder, hub:owner/name for a data set, or pypi:package",
    )

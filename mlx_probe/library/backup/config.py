"""Settings of a backup, and who is told how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LARGE", "SILENT", "BackupConfig", "Progress"]


# Weight files below this size are always stored.
LARGE = 64_000_000


@dataclass(frozen=True)
class BackupConfig:
    """How a backup is made.

    Attributes:
        include_weights: Whether large weight files are stored too.
        large: Smallest size in bytes of weight files that are not stored.
        rescan: Whether files are read that have not changed, too.
        database: The catalog; None for the default one.
    """

    include_weights: bool = False
    large: int = LARGE
    rescan: bool = False
    database: Path | None = None

    @property
    def catalog(self) -> Path:
        """The catalog's file."""
        # The catalog's package takes longer to import than a short backup takes.
        from mlx_probe.library.catalog.database import default_database

        return default_database() if self.database is None else self.database


@dataclass(frozen=True)
class Progress:
    """Calls for each path, and for bytes that were read or written."""

    on_path: Callable[[Path], None] = lambda path: None
    on_bytes: Callable[[int], None] = lambda count: None


SILENT = Progress()

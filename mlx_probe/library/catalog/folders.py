"""Folders of models that scans look through again."""

from __future__ import annotations

import os
from pathlib import Path

from mlx_probe.library.catalog.database import Database

__all__ = ["remembered_folders"]


def remembered_folders(database: Database) -> list[Path]:
    """Folders that earlier scans were given."""
    rows = database.rows("SELECT path FROM folders ORDER BY path")
    return [Path(os.fsdecode(row["path"])) for row in rows]

"""Moves what may go to bins on the same disks, after it was looked up again.

Each file or folder is moved by one renaming with an entry in the catalog, as run folders are:
after a kill it is where it was or in the bin, and `settle_bin` corrects the entry.
"""

from __future__ import annotations

import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from mlx_probe.core.errors import ProbeError
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.lock import alone
from mlx_probe.library.experiments.moving import BIN, move_in, settle_bin
from mlx_probe.library.space.records import Item, Moved
from mlx_probe.library.space.surveying import find_items
from mlx_probe.library.space.usage import usage

__all__ = ["put_away"]


def put_away(database: Database, items: Sequence[Item]) -> Moved:
    """Move what a user chose to bins on the same disks.

    What may go is looked up again first: an item that is needed by now, or has changed, stays.

    Args:
        database: The catalog.
        items: From `survey_space`.

    Raises:
        ResultError: Another process changes files of this catalog, or the catalog cannot be
            written.
    """
    done, batch = Moved(), secrets.token_hex(4)
    with alone(database.path):
        settle_bin(database)
        fresh = find_items(database, tuple(dict.fromkeys(item.kind for item in items)))
        known = {(item.kind, item.paths): item for item in fresh.items}
        reasons = {kept.path: kept.why for kept in fresh.kept}
        for item in items:
            if known.get((item.kind, item.paths)) != item:
                why = next((reasons[path] for path in item.paths if path in reasons), "")
                done.skipped.append((item.paths[0], why or "it has changed since it was listed"))
                continue
            _put_away(database, item, batch, done)
    done.batch = batch if done.paths else ""
    return done


def _put_away(database: Database, item: Item, batch: str, done: Moved) -> None:
    for path in item.paths:
        try:
            _require_same(path)
            taken = usage([path]).disk
            move_in(database, path, item.home / BIN, taken, (batch, item.kind))
        except (OSError, ProbeError) as error:
            # What comes after it may be what it leads to.
            done.skipped.append((path, error.fact if isinstance(error, ProbeError) else str(error)))
            return
        done.paths.append(path)
        done.size += taken


def _require_same(path: Path) -> None:
    """Look at a path once more, directly before it is moved.

    Raises:
        OSError: A file has got another name.
    """
    status = path.lstat()
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        raise OSError(f"{path} has further names by now")

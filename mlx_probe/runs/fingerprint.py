"""The identity of a job: a job can resume the records of another with the same fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["file_stamps", "fingerprint_of"]


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """SHA-256 of everything that decides a record's values, as hex digits.

    Args:
        identity: Strings, numbers, lists and mappings.
    """
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def file_stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of the last change of each file: they differ if its content does.

    Raises:
        OSError: A file is gone.
    """
    stats = [(path.name, path.stat()) for path in paths]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]

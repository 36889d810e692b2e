"""What restic prints, and what its patterns are written like."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError

from .records import Snapshot, Totals

__all__ = ["message_of", "pattern_of", "snapshot_of", "tags_of"]


def pattern_of(path: Path | str) -> str:
    r"""A path as a pattern of restic that takes nothing else; $ is for variables there."""
    text = os.fspath(path)
    if "\n" in text:
        raise ConfigError(
            f"{text!r} has a line break, which no pattern of restic can have",
            "Rename it, use --include-weights, or an archive of our own with --with own",
        )
    text = "".join(f"\\{c}" if c in "*?[\\" else c for c in text)
    return text.replace("$", "$$")


def message_of(line: bytes) -> dict[str, Any]:
    """A line of its JSON; empty if it is none."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def tags_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a snapshot that have values."""
    parts = (str(tag).partition("=") for tag in row.get("tags") or [])
    return {name: value for name, _, value in parts}


def snapshot_of(row: Mapping[str, Any]) -> Snapshot:
    """A snapshot as ``restic snapshots --json`` prints it."""
    paths = tuple(map(str, row.get("paths") or ()))
    tags = tags_of(row)
    totals = None
    if "files" in tags:
        names = ("files", "bytes", "weights", "referenced")
        totals = Totals(*(int(tags.get(name, 0)) for name in names))
    base = os.path.commonpath([Path(path).parent for path in paths]) if paths else "/"
    return Snapshot(str(row["id"]), _utc(str(row["time"])), str(base), paths, totals, "restic")


def _utc(text: str) -> str:
    """The local time with nanoseconds of restic as ours."""
    head, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789") or text[len(head) :] or "Z"
    digits = rest[: len(rest) - len(zone)] if rest else ""
    if not rest:
        return text
    stamp = f"{head}.{digits[:3].ljust(3, '0')}{zone.replace('Z', '+00:00')}"
    return datetime.fromisoformat(stamp).astimezone(timezone.utc).isoformat(timespec="milliseconds")

"""JSON files that may be there or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["read_object"]


def read_object(path: Path) -> Mapping[str, Any] | None:
    """The object of a file; None where there is no such file, or no object in it."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None

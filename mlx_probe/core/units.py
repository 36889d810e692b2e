"""Sizes as people write them."""

from __future__ import annotations

import re

__all__ = ["parse_size"]

_UNITS = {
    "": 1,
    **{unit: 1000**n for n, unit in enumerate(("B", "KB", "MB", "GB", "TB"))},
    **{unit: 1024**n for n, unit in enumerate(("KIB", "MIB", "GIB", "TIB"), start=1)},
}


def parse_size(text: str) -> int | None:
    """Bytes of a number with an optional unit (600MB, 1.5GiB, 4096); None for another text."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        return None
    return int(float(match[1]) * _UNITS[match[2].upper()])

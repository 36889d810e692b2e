"""Sizes and spans of time in the form that people read and write."""

from __future__ import annotations

import re

__all__ = ["format_size", "parse_duration", "parse_size"]

_UNITS = {
    "": 1,
    **{unit: 1000**n for n, unit in enumerate(("B", "KB", "MB", "GB", "TB"))},
    **{unit: 1024**n for n, unit in enumerate(("KIB", "MIB", "GIB", "TIB"), start=1)},
}

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_SYMBOLS = ("kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")


def format_size(count: float) -> str:
    """Bytes with a decimal unit and one digit after the point: 999 bytes, 1.5 kB, 2.0 GB."""
    if count < 1000:
        return "1 byte" if count == 1 else f"{count:,} bytes"
    power = next((n for n in range(1, len(_SYMBOLS)) if count < 1000 ** (n + 1)), len(_SYMBOLS))
    return f"{1000 * count / 1000 ** (power + 1):,.1f} {_SYMBOLS[power - 1]}"


def parse_size(text: str) -> int | None:
    """Bytes from a number with an optional unit (600MB, 1.5GiB, 4096); None for other text."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        return None
    return int(float(match[1]) * _UNITS[match[2].upper()])


def parse_duration(text: str) -> int | None:
    """Seconds from a whole number with a unit (90s, 30m, 12h, 7d, 2w); None for other text."""
    match = re.fullmatch(r"\s*(\d{1,9})\s*([smhdw])\s*", text, re.ASCII)
    return None if match is None else int(match[1]) * _SECONDS[match[2]]

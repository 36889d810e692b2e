"""Extended attributes of files, where Python has them: not on macOS."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["read_xattrs", "write_xattrs"]

# What programs set; others are the system's.
_PREFIX = "user."


def read_xattrs(path: str | Path) -> dict[str, str]:
    """The attributes of a file, folder or link, base64."""
    if sys.platform != "linux":
        return {}
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {
            name: base64.b64encode(os.getxattr(path, name, follow_symlinks=False)).decode()
            for name in names
            if name.startswith(_PREFIX)
        }
    except OSError:
        # A disk without attributes.
        return {}


def write_xattrs(path: str | Path, values: Mapping[str, str]) -> None:
    """Set them where the disk takes them."""
    if sys.platform != "linux":
        return
    for name, value in values.items():
        if name.startswith(_PREFIX):
            try:
                os.setxattr(path, name, base64.b64decode(value), follow_symlinks=False)
            except (OSError, ValueError):
                return

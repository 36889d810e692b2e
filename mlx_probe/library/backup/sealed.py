"""Small JSON files that prove their own content: one changed byte anywhere is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_probe.core.files import replacing

__all__ = ["seal", "unseal", "write_sealed"]

_KEY = "sha256"


def seal(content: Mapping[str, Any]) -> bytes:
    """The file's bytes: the content and its hash, in the one form that `unseal` accepts."""
    body = json.dumps(content, sort_keys=True, indent=1)
    digest = hashlib.sha256(body.encode("ascii")).hexdigest()
    return (json.dumps({**content, _KEY: digest}, sort_keys=True, indent=1) + "\n").encode("ascii")


def unseal(data: bytes) -> dict[str, Any]:
    """The content of a sealed file.

    Raises:
        ValueError: A byte is not what was written.
    """
    try:
        content = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError):
        content = None
    # The bytes, not the hash: blanks and line ends count too.
    if isinstance(content, dict):
        content.pop(_KEY, None)
        if seal(content) == data:
            return content
    raise ValueError("it is not what was written")


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a sealed file.

    Raises:
        ResultError: The disk refused.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(seal(content))

"""What `mlx-probe data toolcalls` itself writes, and examples written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.lab.data.toolcalls.formats.openai import convert
from mlx_probe.lab.data.toolcalls.formats.protocol import Format

__all__ = ["PREPARED"]


def _fits(row: Mapping[str, Any]) -> bool:
    return "messages" in row and "tools" in row and "source" in row


PREPARED = Format(
    title="prepared examples",
    about="`id`, `messages`, `tools` and `source`, as this command writes them",
    fits=_fits,
    convert=convert,
)

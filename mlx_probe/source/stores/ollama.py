"""The models of Ollama: manifests that name blobs."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe.core.records import ModelFiles
from mlx_probe.source.stores.discovery import expanded, is_file
from mlx_probe.source.stores.protocol import OnProblem, Store, StoredModel

__all__ = ["OLLAMA"]

# Real manifests have a few kilobytes.
_MAX_MANIFEST = 1 << 20
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_HOST = "registry.ollama.ai"


def _folders() -> list[Path]:
    given = os.environ.get("OLLAMA_MODELS")
    return [expanded(given) if given else Path.home() / ".ollama" / "models"]


def _find(store: Path, on_problem: OnProblem) -> Iterator[StoredModel]:
    """Yield every model that a manifest of Ollama names."""
    manifests = store / "manifests"
    # Host, owner, name, tag. A fixed depth: links may lead in circles.
    for path in sorted(manifests.glob("*/*/*/*")):
        if path.name.startswith(".") or not is_file(path):
            continue
        try:
            manifest, revision = _read_manifest(path)
        except (OSError, ValueError, RecursionError) as error:
            on_problem(path, f"no manifest of Ollama: {error}")
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
    if host != _HOST:
        label, url = f"{host}/{owner}/{name}:{tag}", f"https://{host}/{owner}/{name}"
    elif owner != "library":
        label = f"{owner}/{label}"
    blobs: dict[str, list[Path]] = {}
    hashes: dict[Path, str] = {}
    for layer in manifest["layers"]:
        digest = layer.get("digest") if isinstance(layer, dict) else None
        # Only a digest becomes a path: the manifest comes from somebody else.
        match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
        if match is not None:
            # Early versions wrote the file names with a colon.
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
    """The first line of the first readable text."""
    for path in filter(is_file, texts):
        try:
            with path.open("rb") as file:
                lines = file.read(4096).decode("utf-8", "replace").split("\n")
        except OSError:
            continue
        return next((line.strip() for line in lines if line.strip()), "")[:80]
    return ""


OLLAMA = Store("Ollama", _folders, _find, kept_whole=True)

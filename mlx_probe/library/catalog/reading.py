"""Reads the headers, model card and files of a stored model for the catalog."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import ProbeError
from mlx_probe.library.catalog.readme import read_readme
from mlx_probe.library.catalog.records import FileRole, Model, ModelFile
from mlx_probe.source.stores.protocol import StoredModel

__all__ = ["FileState", "file_states", "key_of", "read_model", "stamp_of"]

# Increased when reading gives other facts, so that the next scan reads all models again.
READING = 1

_LONGEST = 500


@dataclass(frozen=True)
class FileState:
    """A file of a model as it is now.

    Attributes:
        file: Has a hash only if a store names the file by it.
        inode: Device and inode: equal for all names of one file.
    """

    file: ModelFile
    inode: tuple[int, int]


def key_of(stored: StoredModel) -> str:
    """The model's id in the catalog: the same for the same location, whatever it contains."""
    # Links to its folder are resolved, its own is not: the link in a snapshot names the model.
    location = os.path.join(os.path.realpath(stored.location.parent), stored.location.name)  # noqa: PTH118
    return hashlib.sha256(os.fsencode(location)).hexdigest()[:12]


def file_states(stored: StoredModel) -> list[FileState]:
    """The files of a model that exist, in the order of their roles."""
    files = stored.files
    roles: list[tuple[FileRole, Iterable[Path]]] = [
        ("weights", files.weights),
        ("other weights", stored.others),
        ("index", [files.index] if files.index else []),
        ("config", [files.config] if files.config else []),
        ("card", [stored.readme] if stored.readme else []),
    ]
    states = []
    for role, paths in roles:
        for path in dict.fromkeys(paths):
            try:
                status = path.stat()
            except OSError:
                continue
            hashed = stored.hashes.get(path, "")
            file = ModelFile(path, role, status.st_size, status.st_mtime_ns, hashed)
            states.append(FileState(file, (status.st_dev, status.st_ino)))
    return states


def stamp_of(stored: StoredModel, states: Iterable[FileState]) -> str:
    """A digest that changes whenever the model has to be read again."""
    seen = [(os.fsencode(s.file.path), s.file.size, s.file.mtime_ns) for s in states]
    files = stored.files
    known = (files.model_id, files.revision, stored.licence, stored.url, stored.problem)
    return hashlib.sha256(repr((READING, known, seen)).encode()).hexdigest()[:24]


def read_model(stored: StoredModel, states: Iterable[FileState]) -> Model:
    """Read a model's headers and card; an error becomes the model's ``problem``.

    Args:
        stored: The model on the disk.
        states: From `file_states`.
    """
    states = list(states)
    facts: dict[str, Any] = {}
    problem = stored.problem
    if not problem:
        try:
            facts = _facts(stored)
        except ProbeError as error:
            problem = error.fact
    readme = read_readme(stored.readme) if stored.readme else None
    metadata = facts.pop("metadata", {})
    bases = [*(readme.base_models if readme else ()), *facts.pop("bases", ()), *_bases(metadata)]
    newest = max((s.file.mtime_ns for s in states if "weights" in s.file.role), default=None)
    return Model(
        key=key_of(stored),
        store=stored.store,
        id=_clean(stored.files.model_id),
        revision=_clean(stored.files.revision),
        path=stored.files.path,
        location=stored.location,
        size=sum({state.inode: state.file.size for state in states}.values()),
        licence=_clean((readme.licence if readme else "") or _licence(metadata) or stored.licence),
        url=_clean(stored.url or _address(metadata)),
        base_models=tuple(dict.fromkeys(map(_clean, bases))),
        description=_clean((readme.description if readme else "") or _description(metadata), 700),
        problem=_clean(problem, 2000),
        modified_at="" if newest is None else _date(newest),
        files=tuple(state.file for state in states),
        **facts,
    )


def _facts(stored: StoredModel) -> dict[str, Any]:
    with open_checkpoint(stored.files) as checkpoint:
        elements: Counter[str] = Counter()
        for parameter in checkpoint.parameters:
            # All types in a GGUF file are ggml's: the prefix says nothing.
            elements[parameter.stored_as.removeprefix("ggml ")] += parameter.numel
        count = sum(elements.values())
        nbytes = sum(parameter.nbytes for parameter in checkpoint.parameters)
        shape = checkpoint.architecture.describe()
        family = shape.pop("model_type", "")
        adapter = checkpoint.adapter
        return {
            "format": checkpoint.framework,
            "architecture": _clean(family),
            "shape": shape,
            # SQLite's integers end at 2**63.
            "parameters": count if count < 2**63 else None,
            "dtypes": {_clean(name): min(n, 2**63 - 1) for name, n in elements.most_common(20)},
            "bits": 8 * nbytes / count if count else None,
            "adapter": adapter.kind if adapter else "",
            "bases": [adapter.base_model] if adapter and adapter.base_model else [],
            "metadata": checkpoint.metadata,
        }


def _licence(metadata: Mapping[str, Any]) -> str:
    # GGUF's keys, and those of the ModelSpec in safetensors files.
    for key in ("general.license", "general.license.name", "modelspec.license", "license"):
        if isinstance(metadata.get(key), str) and metadata[key].strip():
            return str(metadata[key]).strip()
    return ""


def _address(metadata: Mapping[str, Any]) -> str:
    for key in ("general.source.url", "general.repo_url", "general.source.repo_url", "general.url"):
        value = metadata.get(key)
        if isinstance(value, str) and re.fullmatch(r"https?://[!-~]+", value):
            return value
    return ""


def _bases(metadata: Mapping[str, Any]) -> list[str]:
    """Base models that a GGUF file names, by repository if it is given, otherwise by name."""
    bases = []
    for number in range(8):
        url = metadata.get(f"general.base_model.{number}.repo_url")
        name = metadata.get(f"general.base_model.{number}.name")
        match = re.fullmatch(r"https://huggingface\.co/([\w.-]+/[\w.-]+)/?", str(url))
        if match is not None:
            bases.append(match[1])
        elif isinstance(name, str) and name.strip():
            bases.append(name.strip())
    return bases


def _description(metadata: Mapping[str, Any]) -> str:
    for key in ("general.description", "modelspec.description"):
        if isinstance(metadata.get(key), str):
            return str(metadata[key]).strip()
    return ""


def _clean(text: str, longest: int = _LONGEST) -> str:
    """Text that UTF-8 can encode, cut to a length."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return shown if len(shown) <= longest else shown[: longest - 3] + "..."


def _date(mtime_ns: int) -> str:
    try:
        moment = datetime.fromtimestamp(mtime_ns / 1e9, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return ""  # outside the years that datetime knows
    return moment.isoformat(timespec="seconds")

"""A found model's headers, card and files, as the catalog keeps them."""

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
from mlx_probe.source.stores.discovery import StoredModel

__all__ = ["FileState", "key_of", "look_at_files", "read_model", "stamp_of"]

# Counts up when reading tells more or otherwise, so that unchanged models are read again.
READING = 1

_LONGEST = 500


@dataclass(frozen=True)
class FileState:
    """A file of a model as it is now.

    Attributes:
        file: Without its hash, but for one that its name promises.
        inode: Device and inode: equal for names of one file.
    """

    file: ModelFile
    inode: tuple[int, int]


def key_of(found: StoredModel) -> str:
    """The model's id in the catalog: the same for the same place, whatever lies there."""
    # Through links to its folder, not through itself: a snapshot's link names the model.
    place = os.path.join(os.path.realpath(found.location.parent), found.location.name)  # noqa: PTH118
    return hashlib.sha256(os.fsencode(place)).hexdigest()[:12]


def look_at_files(found: StoredModel) -> list[FileState]:
    """Its files that are there, in the order of their roles."""
    files = found.files
    roles: list[tuple[FileRole, Iterable[Path]]] = [
        ("weights", files.weights),
        ("other weights", found.others),
        ("index", [files.index] if files.index else []),
        ("config", [files.config] if files.config else []),
        ("card", [found.readme] if found.readme else []),
    ]
    states = []
    for role, paths in roles:
        for path in dict.fromkeys(paths):
            try:
                status = path.stat()
            except OSError:
                continue
            hashed = found.hashes.get(path, "")
            file = ModelFile(path, role, status.st_size, status.st_mtime_ns, hashed)
            states.append(FileState(file, (status.st_dev, status.st_ino)))
    return states


def stamp_of(found: StoredModel, states: Iterable[FileState]) -> str:
    """A digest that changes whenever the model has to be read again."""
    seen = [(os.fsencode(s.file.path), s.file.size, s.file.mtime_ns) for s in states]
    told = (found.files.model_id, found.files.revision, found.licence, found.url, found.problem)
    return hashlib.sha256(repr((READING, told, seen)).encode()).hexdigest()[:24]


def read_model(found: StoredModel, states: Iterable[FileState]) -> Model:
    """What a model's headers and card tell; a problem instead of an error.

    Args:
        found: Where it lies.
        states: From `look_at_files`.
    """
    states = list(states)
    facts: dict[str, Any] = {}
    problem = found.problem
    if not problem:
        try:
            facts = _facts(found)
        except ProbeError as error:
            problem = error.fact
    readme = read_readme(found.readme) if found.readme else None
    metadata = facts.pop("metadata", {})
    bases = [*(readme.base_models if readme else ()), *facts.pop("bases", ()), *_bases(metadata)]
    newest = max((s.file.mtime_ns for s in states if "weights" in s.file.role), default=None)
    return Model(
        key=key_of(found),
        store=found.store,
        id=_clean(found.files.model_id),
        revision=_clean(found.files.revision),
        path=found.files.path,
        place=found.location,
        size=sum({state.inode: state.file.size for state in states}.values()),
        licence=_clean((readme.licence if readme else "") or _licence(metadata) or found.licence),
        url=_clean(found.url or _address(metadata)),
        base_models=tuple(dict.fromkeys(map(_clean, bases))),
        description=_clean((readme.description if readme else "") or _description(metadata), 700),
        problem=_clean(problem, 2000),
        modified_at="" if newest is None else _date(newest),
        files=tuple(state.file for state in states),
        **facts,
    )


def _facts(found: StoredModel) -> dict[str, Any]:
    with open_checkpoint(found.files) as checkpoint:
        elements: Counter[str] = Counter()
        for parameter in checkpoint.parameters:
            # What a GGUF file holds is ggml's anyway.
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
            # SQLite counts to 2**63.
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
    """Base models that a GGUF file names: repositories where it tells them, or names."""
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
    """Text that UTF-8 can hold and that is not endless."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return shown if len(shown) <= longest else shown[: longest - 3] + "..."


def _date(mtime_ns: int) -> str:
    try:
        moment = datetime.fromtimestamp(mtime_ns / 1e9, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return ""  # a year that no calendar has
    return moment.isoformat(timespec="seconds")

"""Records of the catalog: models, their files, the runs that measured them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["Analysis", "FileRole", "Model", "ModelFile"]

FileRole = Literal["weights", "other weights", "index", "config", "card"]


@dataclass(frozen=True)
class ModelFile:
    """A file of a model, as the last scan saw it.

    Attributes:
        path: As its model names it; may be a link.
        role: Its part in the model.
        size: Bytes.
        mtime_ns: When it was last written, in nanoseconds.
        sha256: Hash of its content as 64 hex digits; "" if it is not known yet.
    """

    path: Path
    role: FileRole
    size: int
    mtime_ns: int
    sha256: str = ""


@dataclass(frozen=True)
class Analysis:
    """A finished run over a model.

    Attributes:
        path: Its run_meta.json.
        kind: "analyze" or "compare".
        created_at: When it ended, ISO 8601.
        facts: What else the run recorded: total "seconds", "gbps", "peak_memory" and
            "peak_device_memory" in bytes, "bytes_read", "backend", "device", "passed";
            each may be missing.
    """

    path: Path
    kind: str
    created_at: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A model in the catalog.

    Attributes:
        key: Its id in the catalog: 12 hex digits, made from its location.
        store: Key in `STORES`.
        id: Name ("Qwen/Qwen3-0.6B", "smollm2:135m", a folder's name).
        revision: Commit, version, Ollama's id, or "local".
        path: Folder or file to give to an analysis.
        location: What names it on this disk: its first weight file, or a store's manifest.
        format: Weight file format; "" if it could not be read.
        architecture: Family name; "" if unknown.
        shape: Numbers of the network: layers, hidden_size, heads ...
        parameters: Number of logical elements; None if it could not be read.
        dtypes: Number of elements by stored type, the largest first.
        bits: Stored bits for each element, including scales; None if unknown.
        size: Bytes of its files; several names of one file count once.
        licence: As its publisher names it; "" if unknown.
        url: Where it was published; "" if unknown.
        base_models: Models that it was made from, as its metadata names them.
        adapter: "lora" or "dora"; "" for an ordinary model.
        description: Beginning of its model card; "" without one.
        problem: Why it could not be read; "" if it could.
        missing: Whether its files are gone.
        found_at: When a scan first saw it, ISO 8601.
        modified_at: When its newest weight file was written, ISO 8601; "" if unknown.
        note: The user's note.
        tags: The user's tags, sorted.
        files: Its files.
        analyses: Finished runs over it, newest first.
    """

    key: str
    store: str
    id: str
    revision: str
    path: Path
    location: Path
    format: str = ""
    architecture: str = ""
    shape: Mapping[str, int] = field(default_factory=dict)
    parameters: int | None = None
    dtypes: Mapping[str, int] = field(default_factory=dict)
    bits: float | None = None
    size: int = 0
    licence: str = ""
    url: str = ""
    base_models: tuple[str, ...] = ()
    adapter: str = ""
    description: str = ""
    problem: str = ""
    missing: bool = False
    found_at: str = ""
    modified_at: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()
    files: tuple[ModelFile, ...] = ()
    analyses: tuple[Analysis, ...] = ()

    @property
    def dtype(self) -> str:
        """Stored type of most elements; "" if unknown."""
        return next(iter(self.dtypes), "")

    @property
    def weights(self) -> tuple[ModelFile, ...]:
        """Its weight files in all its formats."""
        return tuple(file for file in self.files if file.role in ("weights", "other weights"))

    @property
    def analyzed_at(self) -> str:
        """When it was last analysed; "" if it never was."""
        return next((run.created_at for run in self.analyses if run.kind == "analyze"), "")

    def describe(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "key": self.key,
            "id": self.id,
            "revision": self.revision,
            "store": self.store,
            "path": str(self.path),
            "format": self.format,
            "architecture": self.architecture,
            "shape": dict(self.shape),
            "parameters": self.parameters,
            "dtype": self.dtype,
            "dtypes": dict(self.dtypes),
            "bits": self.bits,
            "size": self.size,
            "licence": self.licence,
            "url": self.url,
            "base_models": list(self.base_models),
            "adapter": self.adapter,
            "description": self.description,
            "problem": self.problem,
            "missing": self.missing,
            "found_at": self.found_at,
            "modified_at": self.modified_at,
            "analyzed_at": self.analyzed_at,
            "note": self.note,
            "tags": list(self.tags),
            "files": [
                {
                    "path": str(file.path),
                    "role": file.role,
                    "size": file.size,
                    "mtime_ns": file.mtime_ns,
                    "sha256": file.sha256,
                }
                for file in self.files
            ],
            "runs": [
                {
                    "path": str(run.path),
                    "kind": run.kind,
                    "created_at": run.created_at,
                    **run.facts,
                }
                for run in self.analyses
            ],
        }

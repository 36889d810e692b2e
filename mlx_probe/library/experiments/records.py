"""Runs as the catalog keeps them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mlx_probe.runs.experiments.records import Experiment, Value
from mlx_probe.runs.folder import run_name

__all__ = ["StoredRun", "json_object", "uncatalogued"]


@dataclass(frozen=True)
class StoredRun:
    """A run in the catalog, as the last scan read it.

    Attributes:
        number: Its row.
        id: 12 hex digits, which stay when its folder is moved.
        encoded_folder: The run folder, as bytes.
        encoded_marker: The file by which it was recognised, as bytes.
        kind: Key of `RUN_KINDS`; "unknown" if it could never be read.
        state: "finished", "stopped early", "interrupted", "running" or "damaged".
        reason: Why it is damaged; "" if it is not.
        created_at: When it was made, ISO 8601 in UTC.
        seconds: How long it took; None if unknown.
        models: Names of its inputs that are models.
        config_json: Its configuration, as JSON.
        metrics_json: Its final numbers, as JSON.
        facts_json: Inputs, outputs, version, code, command and working folder, as JSON.
        missing: Whether its folder is gone.
        token: Its place in the bin; "" if it is not there.
        found_at: When a scan first saw it, ISO 8601.
        note: The user's note.
        tags: The user's tags, sorted.
    """

    number: int
    id: str
    encoded_folder: bytes
    encoded_marker: bytes
    kind: str
    state: str
    reason: str
    created_at: str
    seconds: float | None
    models: str
    config_json: str
    metrics_json: str
    facts_json: str = field(repr=False)
    missing: bool
    token: str
    found_at: str
    note: str
    tags: tuple[str, ...]

    # Made when someone asks: a list of ten thousand runs needs few of these.
    @cached_property
    def folder(self) -> Path:
        """The run folder."""
        return Path(os.fsdecode(self.encoded_folder))

    @cached_property
    def marker(self) -> Path:
        """The file by which it was recognised."""
        return Path(os.fsdecode(self.encoded_marker))

    @cached_property
    def config(self) -> Mapping[str, Value]:
        """Its configuration, by "section.key"."""
        return json_object(self.config_json)

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        """Its final numbers."""
        return json_object(self.metrics_json)

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """Inputs (list of mappings as `Input` has them), outputs, version, code, command, ..."""
        return json_object(self.facts_json)

    @property
    def inputs(self) -> list[Mapping[str, str]]:
        """What it came from: role, name, revision, path, sha256."""
        return list(self.facts.get("inputs", ()))

    @property
    def outputs(self) -> list[str]:
        """Absolute paths of the checkpoints that it wrote."""
        return list(self.facts.get("outputs", ()))

    @property
    def name(self) -> str:
        """What it is called: see `run_name`."""
        return run_name(self.folder)

    def describe(self) -> dict[str, Any]:
        """Everything, for JSON; nothing that is only made for it stays in memory."""
        facts = json_object(self.facts_json)
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "missing": self.missing,
            "folder": str(self.folder),
            "marker": str(self.marker),
            "models": self.models,
            "created_at": self.created_at,
            "seconds": self.seconds,
            "version": facts.get("version", ""),
            "code": facts.get("code", ""),
            "command": facts.get("command", []),
            "working_folder": facts.get("working_folder", ""),
            "inputs": facts.get("inputs", []),
            "outputs": facts.get("outputs", []),
            "tags": list(self.tags),
            "note": self.note,
            "found_at": self.found_at,
            "config": json_object(self.config_json),
            "metrics": json_object(self.metrics_json),
        }


def uncatalogued(number: int, run: Experiment) -> StoredRun:
    """A run that no catalog has, for what compares runs.

    Args:
        number: Any; another one for each run.
        run: The run.
    """
    return StoredRun(
        number=number,
        id="",
        encoded_folder=os.fsencode(run.folder),
        encoded_marker=os.fsencode(run.marker),
        kind=run.kind,
        state=run.state,
        reason=run.reason,
        created_at=run.created_at,
        seconds=run.seconds,
        models=", ".join(each.name for each in run.inputs),
        config_json=json.dumps(dict(run.config)),
        metrics_json=json.dumps(dict(run.metrics)),
        facts_json="{}",
        missing=False,
        token="",
        found_at="",
        note="",
        tags=(),
    )


def json_object(text: str) -> dict[str, Any]:
    """A JSON object of the catalog; an empty one where the text is none, as in a damaged file."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}

"""A run as a record, whatever its kind, and what it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["STATES", "Experiment", "Input", "Value"]

Value = str | int | float | bool | None
STATES = ("finished", "stopped early", "interrupted", "running", "damaged")


@dataclass(frozen=True)
class Input:
    """What a run came from.

    Attributes:
        role: What it was for the run: "model", "base", "teacher", "adapter", "data", "drafter".
        name: As the user knows it: "Qwen/Qwen3-0.6B", "./data/tokens".
        revision: Of the Hub; "" for none.
        path: Absolute path where it is known, or "".
        sha256: Hash of its content, or its fingerprint, where known; or "".
    """

    role: str
    name: str
    revision: str = ""
    path: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Experiment:
    """One run on the disk, whatever its kind.

    Attributes:
        folder: Absolute real path of the run folder.
        marker: The file by which it was recognised.
        kind: Key of `RUN_KINDS`.
        created_at: When it was finished, of an unfinished one when it last wrote; ISO 8601 in UTC.
        state: One of `STATES`.
        seconds: What it took, all starts together; None if unknown.
        inputs: What it came from.
        outputs: Absolute paths of the checkpoints that it wrote.
        version: Of mlx-probe; "" if unknown.
        code: Commit of the work tree that the package ran from, with "-dirty" where files of it
            were changed; "" if unknown.
        command: The command, "mlx-probe" first; () if unknown, as for a run from Python.
        working_folder: Where the command ran; "" if unknown.
        config: Settings, flattened: "section.key".
        metrics: Final numbers, finite ones only.
        reason: Why the state is "damaged"; "" otherwise.
    """

    folder: Path
    marker: Path
    kind: str
    created_at: str
    state: str
    seconds: float | None
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    version: str
    code: str
    command: tuple[str, ...]
    working_folder: str
    config: Mapping[str, Value]
    metrics: Mapping[str, float]
    reason: str = ""

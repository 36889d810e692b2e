"""What the measuring process has done: one line of JSON for each event, in `snapshots`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mlx_probe.core.files import LineWriter, whole_lines

__all__ = ["LEDGER", "Event", "append_event", "read_events"]

LEDGER = "measured.jsonl"


@dataclass(frozen=True)
class Event:
    """Something that happened to a snapshot.

    Attributes:
        step: The snapshot's.
        what: "measured"; "skipped" for a newer one while training went on; or "failed".
        while_training: Whether training went on.
        seconds: Wall time of the measurement.
        cpu_seconds: Its CPU time.
        reason: Why it failed, or what it was skipped for.
    """

    step: int
    what: Literal["measured", "skipped", "failed"]
    while_training: bool
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    reason: str | None = None


def append_event(folder: Path, event: Event) -> None:
    """Add a line.

    Args:
        folder: The folder `snapshots`.
        event: The event.

    Raises:
        OSError: The disk refused.
    """
    path = folder / LEDGER
    end = 0
    if path.exists():
        with path.open("rb") as file:
            end = sum(map(len, whole_lines(file)))
    with path.open("ab", buffering=0) as file:
        LineWriter(file, end).append(json.dumps(asdict(event)))


def read_events(folder: Path, first: int = 0) -> list[Event]:
    """All events, or those after the first ones.

    Args:
        folder: The folder `snapshots`.
        first: Events to leave out.
    """
    path = folder / LEDGER
    if not path.exists():
        return []
    with path.open("rb") as file:
        lines = list(whole_lines(file))
    return [Event(**json.loads(line)) for line in lines[first:]]

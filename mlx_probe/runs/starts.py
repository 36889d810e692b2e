"""The cost of a job over all its starts: each process notes its own cost in the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlx_probe.runs.monitor import Usage, Work

__all__ = ["due_after", "note_of", "total_of"]


def note_of(seconds: float, usage: Usage) -> dict[str, Any]:
    """What a process has cost so far, for `Journal.note`.

    Args:
        seconds: Wall time since the job began, with the opening of its inputs.
        usage: What the job has taken.
    """
    return {
        "seconds": seconds,
        "bytes_read": usage.bytes_read,
        "stages": {
            name: [work.seconds, work.bytes, work.flops] for name, work in usage.stages.items()
        },
    }


def due_after(seconds: float) -> float:
    """When the next note is due after one at so many seconds.

    A killed process loses the cost since its last note, with the interval of the monitor's samples
    at most a second or a hundredth of its time: so the notes of a long job stay few.
    """
    return seconds + max(0.1, seconds / 100)


def total_of(
    earlier: Sequence[Mapping[str, Any]], now: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Work]]:
    """The cost of all starts.

    Args:
        earlier: The notes of earlier processes; one that noted nothing counts as a start.
        now: The note of this process.

    Returns:
        For the metadata: "starts", "seconds" and "bytes_read"; and the cost of each stage.
    """
    notes = [*earlier, now]
    stages: dict[str, Work] = {}
    for note in notes:
        for name, (seconds, nbytes, flops) in note.get("stages", {}).items():
            work = stages.get(name, Work())
            stages[name] = Work(work.seconds + seconds, work.bytes + nbytes, work.flops + flops)
    total = {
        "starts": len(notes),
        "seconds": sum(float(note.get("seconds", 0.0)) for note in notes),
        "bytes_read": sum(int(note.get("bytes_read", 0)) for note in notes),
    }
    return total, stages

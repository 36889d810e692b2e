"""One sample of a job and its machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from mlx_probe.core.records import Column
from mlx_probe.runs.monitor.columns import SAMPLE_COLUMNS

__all__ = ["JobState", "Sample"]

# Names of tensors and files have no limit of their own.
_LONGEST_WHAT = 200


@dataclass(frozen=True)
class JobState:
    """How far a job is.

    Attributes:
        done: Bytes that are finished.
        total: Bytes in all; 0 if that is not known.
        what: What is under way: a tensor, a file, a phase.
        nbytes: Bytes read or downloaded since this process began; never falls.
        read_seconds: Time spent on reading them, in all workers together; None for a download,
            where wall time counts.
    """

    done: int = 0
    total: int = 0
    what: str = ""
    nbytes: int = 0
    read_seconds: float | None = None


@dataclass(frozen=True)
class Sample:
    """One sample; `SAMPLE_COLUMNS` describes the attributes, None is unknown."""

    created_at: datetime
    session: int
    seconds: float
    state: str
    done: int
    total: int
    what: str
    process_cpu: float | None = None
    machine_cpu: float | None = None
    other_cpu: float | None = None
    process_memory: int | None = None
    memory_used: int | None = None
    memory_available: int | None = None
    memory_percent: float | None = None
    swap_used: int | None = None
    swap_in_rate: float | None = None
    swap_out_rate: float | None = None
    disk_free: int | None = None
    disk_read_rate: float | None = None
    disk_write_rate: float | None = None
    disk_scope: str | None = None
    read_rate: float | None = None
    read_speed: float | None = None
    device_memory: int | None = None
    device_memory_peak: int | None = None
    gpu_percent: float | None = None
    gpu_power: float | None = None
    alerts: tuple[str, ...] = ()

    def values(self) -> dict[str, Any]:
        """Column name to value."""
        return asdict(self)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Sample:
        """A sample from the values of `values`, or from JSON of them.

        Raises:
            KeyError, TypeError, ValueError: These are not the values of a sample.
        """
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        at = known["created_at"]
        if isinstance(at, str):
            # Python 3.10 reads no Z.
            known["created_at"] = datetime.fromisoformat(at.replace("Z", "+00:00"))
        for column in SAMPLE_COLUMNS:
            value = known.get(column.name)
            if not _fits(column, value):
                raise TypeError(f"{column.name} cannot be {value!r}")
        known["alerts"] = tuple(known.get("alerts") or ())
        known["what"] = known["what"][:_LONGEST_WHAT]
        return cls(**known)


def _fits(column: Column, value: Any) -> bool:
    """Whether a value has the type of its column."""
    if value is None:
        return not column.required
    if isinstance(value, bool):
        return False
    if column.type == "list<string>":
        return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    expected: dict[str, type | tuple[type, ...]] = {
        "int64": int,
        "float64": (int, float),
        "string": str,
    }
    return column.type not in expected or isinstance(value, expected[column.type])

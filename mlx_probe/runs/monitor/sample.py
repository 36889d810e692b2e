"""One sample of a job and its machine, and the columns of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from mlx_probe.core.records import Column

__all__ = ["SAMPLE_COLUMNS", "JobState", "Sample"]

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


SAMPLE_COLUMNS: tuple[Column, ...] = (
    Column("created_at", "timestamp", "job", "When the sample was taken, in UTC.", required=True),
    Column(
        "session",
        "int64",
        "job",
        "Which of the processes that worked on the run, counted from 0.",
        lower=0,
        required=True,
    ),
    Column(
        "seconds",
        "float64",
        "job",
        "Time since that process began to work.",
        unit="s",
        lower=0,
        required=True,
    ),
    Column("state", "string", "job", "running, paused or stopping.", required=True),
    Column("done", "int64", "job", "Bytes that are behind the job.", unit="bytes", required=True),
    Column("total", "int64", "job", "Bytes in all; 0 if unknown.", unit="bytes", required=True),
    Column("what", "string", "job", "Tensor, file or stage under way.", required=True),
    Column(
        "process_cpu",
        "float64",
        "cpu",
        "Processor time of this process; 100 is one core.",
        unit="%",
        lower=0,
    ),
    Column(
        "machine_cpu",
        "float64",
        "cpu",
        "Share of all cores that is busy.",
        unit="%",
        lower=0,
    ),
    Column(
        "other_cpu",
        "float64",
        "cpu",
        "Share of all cores that other processes keep busy.",
        unit="%",
        lower=0,
    ),
    Column(
        "process_memory",
        "int64",
        "memory",
        "Resident memory of this process.",
        unit="bytes",
        lower=0,
    ),
    Column(
        "memory_used",
        "int64",
        "memory",
        "Memory of the machine that is not available.",
        unit="bytes",
        lower=0,
    ),
    Column(
        "memory_available",
        "int64",
        "memory",
        "Memory that processes can get without swapping.",
        unit="bytes",
        lower=0,
    ),
    Column(
        "memory_percent",
        "float64",
        "memory",
        "memory_used as a share of the machine's memory.",
        unit="%",
        lower=0,
    ),
    Column("swap_used", "int64", "memory", "Swap in use.", unit="bytes", lower=0),
    Column("swap_in_rate", "float64", "memory", "Read from swap.", unit="bytes/s", lower=0),
    Column("swap_out_rate", "float64", "memory", "Written to swap.", unit="bytes/s", lower=0),
    Column(
        "disk_free",
        "int64",
        "disk",
        "Free space where the results go.",
        unit="bytes",
        lower=0,
    ),
    Column("disk_read_rate", "float64", "disk", "Read from disks.", unit="bytes/s", lower=0),
    Column("disk_write_rate", "float64", "disk", "Written to disks.", unit="bytes/s", lower=0),
    Column(
        "disk_scope",
        "string",
        "disk",
        "Whose disk traffic that is: process, or machine if the system reports no more.",
    ),
    Column(
        "read_rate",
        "float64",
        "bandwidth",
        "Bytes of weights read or downloaded in a second that passed.",
        unit="bytes/s",
        lower=0,
    ),
    Column(
        "read_speed",
        "float64",
        "bandwidth",
        "Bytes of weights in a second that one worker spent on reading them, over the last ten "
        "seconds; of a download in a second that passed.",
        unit="bytes/s",
        lower=0,
    ),
    Column("device_memory", "int64", "device", "Device memory in use.", unit="bytes", lower=0),
    Column(
        "device_memory_peak",
        "int64",
        "device",
        "Most device memory that was in use.",
        unit="bytes",
        lower=0,
    ),
    Column("gpu_percent", "float64", "device", "How busy the GPU is.", unit="%", lower=0),
    Column("gpu_power", "float64", "device", "What the GPU draws.", unit="W", lower=0),
    Column("alerts", "list<string>", "job", "Rules that are broken, with the value."),
)

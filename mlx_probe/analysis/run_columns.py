"""Columns that say how a row came about."""

from __future__ import annotations

from mlx_probe.core.column_texts import HERE, THE_FILE
from mlx_probe.core.records import Column

__all__ = ["HOST", "MADE_BY", "WORK"]

MADE_BY: tuple[Column, ...] = (
    Column(
        "created_at",
        "timestamp",
        "run",
        "When the row was computed, in UTC.",
        required=True,
        title="Time",
        plain="When this row was computed.",
        typical="A time in UTC, within the time that the run took.",
        caveat="A resumed run has rows of several days.",
        source=HERE,
    ),
    Column(
        "device",
        "string",
        "run",
        "Device that did the element work.",
        required=True,
        title="Device",
        plain="The part of the machine that worked on the elements.",
        typical="cpu or gpu.",
        caveat="The eigenvalues are computed on the processor even where this says gpu.",
        source=HERE,
    ),
    Column(
        "backend",
        "string",
        "run",
        "Backend that computed the row.",
        required=True,
        title="Backend",
        plain="The library that worked on the elements.",
        typical="numpy, or mlx on a Mac with Apple silicon.",
        caveat="Backends agree within the documented error, not in every last digit.",
        source=HERE,
    ),
    Column(
        "framework",
        "string",
        "run",
        "File format of the checkpoint.",
        required=True,
        title="File format",
        plain="The kind of file that the weights were read from.",
        typical="safetensors or gguf in most models.",
        caveat="It is the container: how elements are packed in it is in `packing`.",
        source=THE_FILE,
    ),
    Column(
        "code_version",
        "string",
        "run",
        "Version of mlx-probe that computed the row.",
        required=True,
        title="Version of mlx-probe",
        plain="Which version of this program computed the row.",
        typical="A version such as 0.1.0, the same in all rows of an undisturbed run.",
        caveat="A definition may have changed between two versions: the changelog says where.",
        source=HERE,
    ),
)

WORK: tuple[Column, ...] = (
    Column(
        "read_seconds",
        "float64",
        "run",
        "Time to bring the bytes into the backend, unpacking included.",
        unit="s",
        lower=0,
        title="Time to read",
        plain="How long it took to get the tensor from the file.",
        typical="Milliseconds for a cached file, many times that from a slow disk or for packed "
        "weights.",
        caveat="Workers share the machine, so it is no benchmark of the disk.",
        source=HERE,
    ),
    Column(
        "compute_seconds",
        "float64",
        "run",
        "Time spent on computing.",
        unit="s",
        lower=0,
        title="Time to compute",
        plain="How long the numbers of this row took to compute.",
        typical="Milliseconds at a short side of 500, seconds at 4,000: about the cube of the "
        "short side.",
        caveat="Workers share the machine, so it is no benchmark of a method.",
        source=HERE,
    ),
    Column(
        "read_gbps",
        "float64",
        "run",
        "nbytes divided by read_seconds.",
        unit="GB/s",
        lower=0,
        title="Reading speed",
        plain="How fast the stored bytes came in.",
        typical="1 to 10 GB/s for plain weights in the file cache, less for packed ones.",
        caveat="Unpacking counts as reading, and tiny tensors show the cost of a call.",
        source=HERE,
        formula="nbytes / read_seconds",
    ),
    Column(
        "status",
        "string",
        "run",
        "ok, nonfinite, empty, scalar, skipped, failed or unsampled.",
        required=True,
        title="Status",
        plain="Whether the row has its numbers, or why it has none.",
        typical="ok in nearly all rows of a sound model.",
        caveat="ok says that the numbers were computed, not that the weight is healthy.",
        source=HERE,
    ),
    Column(
        "status_reason",
        "string",
        "run",
        "Why the status is not ok, or why numbers are null though it is.",
        title="Reason",
        plain="Why numbers are missing, in words.",
        typical="Null; a sentence where a tensor was not understood or is damaged.",
        caveat="A row with status ok may have a reason too, where single numbers lie beyond "
        "float64.",
        source=HERE,
    ),
)

HOST = Column(
    "host",
    "string",
    "run",
    "Machine that computed the row.",
    title="Host",
    plain="The name of the machine that computed this row.",
    typical="One name in all rows; several names after a run on a cluster.",
    caveat="It is the name that the machine gives itself: two machines may have the same.",
    source=HERE,
)

"""How far a job is: finished records, and the bytes they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.runs.monitor.sample import JobState
from mlx_probe.runs.monitor.usage import READ

__all__ = ["JobProgress"]


class JobProgress:
    """Counts finished records; followers may ask for the state from any thread.

    Args:
        sizes: Bytes to work through for each record, by its index, None for one that the job
            does not make; empty if the number of records is not known.
        meter: Counts what is read.

    Attributes:
        what: What is under way: a tensor, a file, a step, or a phase after the records.
    """

    def __init__(self, sizes: Sequence[int | None], meter: UsageMeter) -> None:
        self._sizes, self._meter = sizes, meter
        made = [size for size in sizes if size is not None]
        self._records, self._total, self._done = len(made), sum(made), 0
        # A mark for each record where their number is known; it may be hundreds of thousands.
        self._marks = bytearray(len(sizes))
        self._beyond: set[int] = set()
        self._count = 0
        self.what = ""

    @property
    def count(self) -> int:
        """Number of finished records, those of an earlier process included."""
        return self._count

    @property
    def text(self) -> str:
        """Finished records and all records, for messages."""
        total = self._records
        if total == 1:
            return f"{self.count} of 1 row"
        return f"{self.count} of {total} rows" if total else f"{self.count} rows"

    def state(self) -> JobState:
        """How far the job is now."""
        read = self._meter.work(READ)
        return JobState(self._done, self._total, self.what, read.bytes, read.seconds)

    def finish(self, indices: Iterable[int]) -> None:
        """Count records as finished; one that is finished again does not count again."""
        for index in indices:
            if index in self._beyond or (self._sizes and self._marks[index]):
                continue
            self._count += 1
            if self._sizes:
                self._marks[index] = True
                self._done += self._sizes[index] or 0
            else:
                self._beyond.add(index)

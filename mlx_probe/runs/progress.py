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
        sizes: Bytes to work through for each record, by its index; empty if the number of
            records is not known.
        meter: Counts what is read.

    Attributes:
        what: What is under way: a tensor, a file, a step, or a phase after the records.
    """

    def __init__(self, sizes: Sequence[int], meter: UsageMeter) -> None:
        self._sizes, self._meter = sizes, meter
        self._total, self._done = sum(sizes), 0
        self._finished: set[int] = set()
        self.what = ""

    @property
    def count(self) -> int:
        """Number of finished records, those of an earlier process included."""
        return len(self._finished)

    @property
    def text(self) -> str:
        """Finished records and all records, for messages."""
        return f"{self.count} of {len(self._sizes)} rows" if self._sizes else f"{self.count} rows"

    def state(self) -> JobState:
        """How far the job is now."""
        read = self._meter.work(READ)
        return JobState(self._done, self._total, self.what, read.bytes, read.seconds)

    def finish(self, indices: Iterable[int]) -> None:
        """Count records as finished; one that is finished again does not count again."""
        for index in indices:
            if self._sizes and index not in self._finished:
                self._done += self._sizes[index]
            self._finished.add(index)

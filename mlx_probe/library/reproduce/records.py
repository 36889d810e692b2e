"""What making a run again says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlx_probe.runs.experiments import Experiment

__all__ = ["Compared", "Difference", "Reproduction"]


@dataclass(frozen=True)
class Difference:
    """Something that is not as it was when the run was made.

    Attributes:
        name: What: "package numpy", "code", "input ./model".
        before: Its value then; None if it was not there.
        now: Its value here and now; None likewise.
        matters: Whether it can change a result.
    """

    name: str
    before: str | None
    now: str | None
    matters: bool


@dataclass(frozen=True)
class Compared:
    """One part of the results of two runs.

    Attributes:
        what: "metric", "column", "curve" or "file".
        name: Its name.
        equal: Whether all of it is equal to the bit.
        difference: Largest difference of a number; None where there is none to say.
        relative: The same over the larger of the two numbers.
        reason: Why the parts differ where that is no difference of numbers; "" otherwise.
    """

    what: str
    name: str
    equal: bool
    difference: float | None = None
    relative: float | None = None
    reason: str = ""

    def is_within(self, tolerance: float) -> bool:
        """Whether it is equal, or its numbers differ by no more than a share of themselves."""
        return self.equal or (
            tolerance > 0 and self.relative is not None and self.relative <= tolerance
        )


@dataclass(frozen=True)
class Reproduction:
    """A run, how to make it again, and what came of it.

    Attributes:
        run: The run.
        shell: The command with its folder and variables, for a shell; "" if it is not known.
        command: Its words; () if they are not known.
        variables: Environment variables that it had and that matter.
        differences: What is not as it was.
        out: The run that it was compared with; None if there was none.
        compared: Parts of the results, those that differ first.
        tolerance: Share of a number by which it may differ.
    """

    run: Experiment
    shell: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    differences: tuple[Difference, ...]
    out: Path | None = None
    compared: tuple[Compared, ...] = ()
    tolerance: float = 0.0

    @property
    def is_same(self) -> bool:
        """Whether all results are equal, or within the tolerance; also if none were compared."""
        return all(each.is_within(self.tolerance) for each in self.compared)

    @property
    def is_equal(self) -> bool:
        """Whether all results are equal to the bit."""
        return all(each.equal for each in self.compared)

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        results = None
        if self.out is not None:
            results = {
                "out": str(self.out),
                "same": self.is_same,
                "equal": self.is_equal,
                "tolerance": self.tolerance,
                "compared": [asdict(each) for each in self.compared],
            }
        return {
            "run": str(self.run.marker),
            "kind": self.run.kind,
            "command": list(self.command),
            "working_folder": self.run.working_folder or None,
            "variables": dict(self.variables),
            "shell": self.shell or None,
            "version": self.run.version or None,
            "code": self.run.code or None,
            "differences": [asdict(each) for each in self.differences],
            "results": results,
        }

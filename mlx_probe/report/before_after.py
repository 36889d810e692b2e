"""Two evaluations of the same questions, before a training and after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.report.terminal.answers import measured_rows, paired_titles
from mlx_probe.runs.answers import read_evaluation

__all__ = ["BeforeAfter", "MeasuredTwice", "evaluation_advice", "read_before_after"]

Record = Mapping[str, Any]


@dataclass(frozen=True)
class MeasuredTwice:
    """One thing that was measured before and after.

    Attributes:
        title: What it is.
        before: The value with its interval, as in results.json; None if there is only a paired one.
        after: The same afterwards.
        paired: The difference, as `compare_results` gives it; None where it gives none.
    """

    title: str
    before: Record | None
    after: Record | None
    paired: Record | None


@dataclass(frozen=True)
class BeforeAfter:
    """Two evaluations of the same questions.

    Attributes:
        comparison: What `compare_results` returned.
        before: results.json of the first.
        after: That of the second.
        items: Of each question what became of it before and after, by its id.
    """

    comparison: Record
    before: Record
    after: Record
    items: Mapping[str, tuple[Record, Record]]

    @property
    def measured(self) -> list[MeasuredTwice]:
        """All that was measured, in the order of the results."""
        first, second = dict(measured_rows(self.before)), dict(measured_rows(self.after))
        paired = {
            title: record
            for name, title in paired_titles(self.before).items()
            if (record := self.comparison["metrics"].get(name)) and record["items"]
        }
        rows = [
            MeasuredTwice(title, first.get(title), second.get(title), paired.pop(title, None))
            for title in dict.fromkeys([*first, *second])
        ]
        return rows + [MeasuredTwice(title, None, None, record) for title, record in paired.items()]

    @property
    def errors(self) -> list[tuple[str, int, int]]:
        """What went wrong how often, before and after; the most frequent before first."""
        counts = [
            Counter(pair[side]["error"] for pair in self.items.values() if pair[side]["error"])
            for side in (0, 1)
        ]
        names = sorted({*counts[0], *counts[1]}, key=lambda name: (-counts[0][name], name))
        return [(name, counts[0][name], counts[1][name]) for name in names]

    def pairs(self, ids: Sequence[str]) -> list[tuple[Record, Record]]:
        """Questions before and after, by their ids."""
        return [self.items[id] for id in ids]


def read_before_after(comparison: Record) -> BeforeAfter:
    """The two results behind a comparison, for a page that shows both.

    Args:
        comparison: What `compare_results` returned.

    Raises:
        ResultError: One of the folders is gone or damaged.
        ConfigError: One has questions that the other lacks: numbers of both would be of different
            questions.
    """
    folders = Path(comparison["first"]), Path(comparison["second"])
    (before, left), (after, right) = map(read_evaluation, folders)
    first, second = ({item["id"]: item for item in items} for items in (left, right))
    for folder, own, other in ((folders[0], first, second), (folders[1], second, first)):
        alone = [id for id in own if id not in other]
        if alone:
            raise ConfigError(
                f"{folder} has {len(alone)} questions that the other result lacks, such as "
                f"{alone[0]}",
                "Evaluate both with the same --data, --split, --category and --items",
            )
    return BeforeAfter(comparison, before, after, {id: (first[id], second[id]) for id in first})


def evaluation_advice(base: str, folder: Path) -> str:
    """How to get the evaluations of a tuning into its page, in a sentence."""
    return tr(
        "How much better it got: evaluate the base and the tuned model on the same questions "
        "(`mlx-probe evaluate {base} --task function-calls --data DATA --out before`, "
        "`mlx-probe evaluate {folder} --task function-calls --data DATA --out after`), then "
        "`mlx-probe report {folder} --before before --after after`.",
        base=base,
        folder=folder,
    )

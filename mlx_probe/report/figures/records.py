"""What a figure shows, before anything is drawn: points with their places, and curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Content", "Curve", "Curves", "Point", "Points", "Series", "Stretch"]


@dataclass(frozen=True)
class Point:
    """One number of a figure: that of a tensor, or the median of several in one place.

    Attributes:
        run: Label of the run.
        panel: Group that has a panel of its own ("qk"); "" where all share one.
        group: The line, or the row of a map: a block type, a head, an expert.
        tensor: The first tensor of the place; "" for rows that are about several.
        layer: Number of the block, from 0; None outside the blocks.
        depth: The layer over the last layer, 0 to 1; None outside the blocks.
        value: The number: exactly the table's where there is one tensor.
        low: Smallest of the place.
        high: Largest of the place.
        count: Tensors of the place.
        reliable: Whether at least half of the fits behind it are reliable; None for no fit.
    """

    run: str
    panel: str
    group: str
    tensor: str
    layer: int | None
    depth: float | None
    value: float
    low: float
    high: float
    count: int
    reliable: bool | None


@dataclass(frozen=True)
class Curve:
    """Numbers over the ranks of singular values, or a line between two of them.

    Attributes:
        run: Label of the run.
        tensor: The matrix.
        kind: "values", "noise" (what noise of the same bulk would have), "edge" (of noise) or
            "tail" (the fitted power law).
        ranks: Ranks from 1, ascending.
        values: Singular values at these ranks.
        alpha: The tail's exponent; None for other kinds.
        reliable: Whether the tail's fit is reliable; None for other kinds.
    """

    run: str
    tensor: str
    kind: str
    ranks: tuple[int, ...]
    values: tuple[float, ...]
    alpha: float | None = None
    reliable: bool | None = None


@dataclass(frozen=True)
class Stretch:
    """One number of a curve over training: of a step, or the mean of consecutive ones.

    Attributes:
        run: Label of the run.
        step: The step, the last one of several.
        tokens: Tokens seen by then; None where the run does not say.
        seconds: Seconds of training by then; None where the run does not say.
        value: The number.
        low: Least of the stretch.
        high: Largest of the stretch.
        count: Numbers in it.
    """

    run: str
    step: int
    tokens: float | None
    seconds: float | None
    value: float
    low: float
    high: float
    count: int

    def place(self, over: str) -> float:
        """Where it stands on the horizontal axis.

        Args:
            over: "step", "tokens" or "seconds"; the stretch has it.
        """
        place = {"step": self.step, "tokens": self.tokens, "seconds": self.seconds}[over]
        assert place is not None
        return float(place)


@dataclass(frozen=True)
class Content:
    """What all figures have.

    Attributes:
        runs: Labels of the runs, in the order in which they were named.
        metric: Column that is drawn; "singular_values" for spectra.
        title: The column's heading, written out, in English.
        unit: Of the values; "" for none.
        log: Whether the values have a logarithmic axis.
    """

    runs: tuple[str, ...]
    metric: str
    title: str
    unit: str
    log: bool

    def records(self) -> list[dict[str, Any]]:
        """The numbers as rows of a table."""
        raise NotImplementedError

    def described(self) -> Mapping[str, Any]:
        """What the numbers are, for JSON."""
        return {
            "metric": self.metric,
            "title": self.title,
            "unit": self.unit,
            "log": self.log,
            "runs": [*self.runs],
        }


@dataclass(frozen=True)
class Points(Content):
    """Numbers of tensors by layer and group.

    Attributes:
        points: The numbers, runs in order, groups in the order of the table.
        rows_are: What the groups are: a column's name.
        layers: Number of layers of the longest run.
    """

    points: tuple[Point, ...]
    rows_are: str
    layers: int

    def records(self) -> list[dict[str, Any]]:
        """One row for each point."""
        return [asdict(point) for point in self.points]

    def groups(self) -> list[str]:
        """The groups, in order."""
        return list(dict.fromkeys(point.group for point in self.points))

    def panels(self) -> list[str]:
        """The panels, in order."""
        return list(dict.fromkeys(point.panel for point in self.points))


@dataclass(frozen=True)
class Curves(Content):
    """Spectra of matrices.

    Attributes:
        curves: Values first, then what belongs to them, matrix by matrix.
    """

    curves: tuple[Curve, ...]

    def records(self) -> list[dict[str, Any]]:
        """One row for each point of each curve."""
        return [
            {
                "run": curve.run,
                "tensor": curve.tensor,
                "kind": curve.kind,
                "rank": rank,
                "value": value,
                "alpha": curve.alpha,
                "reliable": curve.reliable,
            }
            for curve in self.curves
            for rank, value in zip(curve.ranks, curve.values, strict=True)
        ]


@dataclass(frozen=True)
class Series(Content):
    """Numbers over the steps of training runs.

    Attributes:
        points: The numbers, runs in order, steps ascending.
        over: What they are drawn over: "step", "tokens" or "seconds".
        over_title: Its heading, in English.
        over_unit: Its unit; "" for none.
    """

    points: tuple[Stretch, ...]
    over: str
    over_title: str
    over_unit: str

    def records(self) -> list[dict[str, Any]]:
        """One row for each point."""
        return [asdict(point) for point in self.points]

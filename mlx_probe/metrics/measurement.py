"""What metrics are computed from, and how a metric and a family of metrics are declared."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from mlx_probe.core.records import (
    METRIC_LEVELS,
    Column,
    ColumnType,
    MetricLevel,
    Moments,
    QuantizationError,
    RankCount,
    Sketch,
    Spectrum,
)
from mlx_probe.core.scaling import times_power_of_two

__all__ = ["BEYOND_RANGE", "Measurement", "Metric", "MetricFamily"]

T = TypeVar("T")

# Why columns are null where `Measurement.has_lost`.
BEYOND_RANGE = "numbers that lie outside of float64's range are null"

_LOST = "has lost"

# What the names of the families' modules begin with.
_FAMILIES = f"{__name__.rpartition('.')[0]}."


@dataclass(frozen=True)
class Measurement:
    """The numbers that were computed from the elements of one weight.

    Attributes:
        moments: Of all elements.
        rank_tol: Tolerance of `rank`, relative to sigma_1.
        spectrum: All singular values, or what an approximate or counting method gives; None for
            vectors, integers and non-finite matrices.
        quantization: Rounding errors; None without the full metrics.
        seed: Seed of the resampling.
    """

    moments: Moments
    rank_tol: float
    spectrum: Spectrum | RankCount | Sketch | None = None
    quantization: QuantizationError | None = None
    seed: int = 0
    _shared: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """A value that several metrics share, computed by the first of them.

        Args:
            name: Name of the value, the same in all of them.
            compute: Pure function of this measurement.
        """
        if name not in self._shared:
            self._shared[name] = compute()
        value: T = self._shared[name]
        return value

    def absolute(self, value: float, exponent: int, power: Literal[1, 2] = 1) -> float | None:
        """A number in the weight's own units, or in their square.

        Args:
            value: The number in units of 2**exponent, or in their square.
            exponent: `Moments.exponent` or `Spectrum.exponent`.
            power: 2 for the square.

        Returns:
            None if the number lies outside of float64's range, or is a square so small that it
            would lose bits; `has_lost` says so then.
        """
        result = times_power_of_two(value, power * exponent)
        least = sys.float_info.min if power == 2 else sys.float_info.min * sys.float_info.epsilon
        if math.isinf(result) or (value != 0 and abs(result) < least):
            self._shared[_LOST] = True
            return None
        return result

    @property
    def has_lost(self) -> bool:
        """Whether a metric that was computed lies outside of float64's range."""
        return _LOST in self._shared


@dataclass(frozen=True)
class Metric:
    """A column derived from a `Measurement`.

    Its name is the function's; its description is the first line of the function's docstring,
    unless it is given.

    Attributes:
        compute: Pure function; None where the metric is not defined for the input.
        type: Type of its column.
        level: Smallest metric set that has it.
        unit: Unit of the values; "" for a pure number.
        lower: Smallest valid value.
        upper: Largest valid value.
        text: Description of its column; "" for the first line of the docstring.
        title, plain, typical, caveat, source, formula: As in `Column`.
    """

    compute: Callable[[Measurement], Any]
    type: ColumnType = "float64"
    level: MetricLevel = "standard"
    unit: str = ""
    lower: float | None = None
    upper: float | None = None
    text: str = ""
    title: str = ""
    plain: str = ""
    typical: str = ""
    caveat: str = ""
    source: str = ""
    formula: str = ""

    @property
    def name(self) -> str:
        """Column name."""
        return self.compute.__name__

    @property
    def family(self) -> str:
        """Name of the module of `mlx_probe.metrics` that defines it."""
        return self.compute.__module__.removeprefix(_FAMILIES).partition(".")[0]

    def is_in(self, level: MetricLevel) -> bool:
        """Whether a metric set includes this metric."""
        return METRIC_LEVELS.index(self.level) <= METRIC_LEVELS.index(level)

    @property
    def column(self) -> Column:
        """The column in the result table."""
        text = self.text or (self.compute.__doc__ or "").partition("\n")[0]
        return Column(
            self.name,
            self.type,
            self.family,
            text,
            self.unit,
            self.lower,
            self.upper,
            title=self.title,
            plain=self.plain,
            typical=self.typical,
            caveat=self.caveat,
            source=self.source,
            formula=self.formula,
        )


@dataclass(frozen=True)
class MetricFamily:
    """The metrics of one module, as documentation presents them.

    Attributes:
        name: Name of the module, as `Metric.family` gives it.
        title: Heading.
        description: The question that the family answers, in one line.
        metrics: Its metrics, in the order of the columns.
        source: Papers that its definitions come from; "" for those of textbooks.
    """

    name: str
    title: str
    description: str
    metrics: tuple[Metric, ...]
    source: str = ""

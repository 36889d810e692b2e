"""What a parameter may be: a list of values, or a range of numbers."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RANGES", "Choices", "Interval", "read_range"]

# Digits of a number that is drawn: enough to be another one, and few enough to be read.
_DIGITS = 6


@dataclass(frozen=True)
class Choices:
    """Some values.

    Attributes:
        values: As they are written.
    """

    values: tuple[str, ...]

    def points(self) -> tuple[str, ...]:
        """The values of a grid."""
        return self.values

    def draw(self, generator: np.random.Generator) -> str:
        """One of them."""
        return self.values[int(generator.integers(len(self.values)))]


@dataclass(frozen=True)
class Interval:
    """Numbers between two others.

    Attributes:
        name: What messages call it.
        kind: Key of `RANGES`.
        low: The smallest.
        high: The largest.
        steps: How many of them a grid has; 0 where it is not said.
    """

    name: str
    kind: str
    low: float
    high: float
    steps: int = 0

    def points(self) -> tuple[str, ...]:
        """The values of a grid, from the smallest to the largest.

        Raises:
            ConfigError: There is no telling how many.
        """
        count = self.steps or (int(self.high - self.low) + 1 if self.kind == "int" else 0)
        if not count:
            raise ConfigError(
                f"{self.name}: a grid needs the number of its values",
                "Add `steps: 5`, list the values, or write `search: random`",
            )
        shares = [each / (count - 1) for each in range(count)] if count > 1 else [0.0]
        at = RANGES[self.kind]
        return tuple(dict.fromkeys(at(self.low, self.high, share) for share in shares))

    def draw(self, generator: np.random.Generator) -> str:
        """One of its numbers."""
        share = float(generator.random())
        if self.kind == "int":
            return str(int(generator.integers(int(self.low), int(self.high) + 1)))
        return RANGES[self.kind](self.low, self.high, share)


def _uniform(low: float, high: float, share: float) -> str:
    return f"{low + share * (high - low):.{_DIGITS}g}"


def _loguniform(low: float, high: float, share: float) -> str:
    return f"{low * (high / low) ** share:.{_DIGITS}g}"


def _int(low: float, high: float, share: float) -> str:
    return str(round(low + share * (high - low)))


# Given both ends, the number that lies so far between them, as text for a command.
RANGES: Mapping[str, Callable[[float, float, float], str]] = {
    "uniform": _uniform,
    "loguniform": _loguniform,
    "int": _int,
}


def read_range(name: str, value: Any) -> Choices | Interval:
    """What a file says of a parameter; its numbers are text still.

    Args:
        name: The parameter, for messages.
        value: A list, or a mapping with one of `RANGES` and perhaps steps.

    Raises:
        ConfigError: It is something else, or makes no sense.
    """
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        if not value or not all(isinstance(each, str) for each in value):
            raise ConfigError(f"{name} is no list of values", "Write for example [8, 16, 32]")
        return Choices(tuple(dict.fromkeys(value)))
    if not isinstance(value, dict):
        raise ConfigError(f"{name} has no values", "Write a list, or {uniform: [0, 1]}")
    others = [key for key in value if key not in (*RANGES, "steps")]
    if others:
        near = difflib.get_close_matches(str(others[0]), [*RANGES, "steps"], n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Write one of {', '.join(RANGES)}"
        raise ConfigError(f"{name}: unknown range {others[0]!r}", hint)
    kinds = [key for key in value if key in RANGES]
    if len(kinds) != 1:
        raise ConfigError(
            f"{name} has {len(kinds)} ranges", f"Write exactly one of {', '.join(RANGES)}"
        )
    low, high = _ends(f"{name}: {kinds[0]}", value[kinds[0]])
    _check(name, kinds[0], low, high)
    return Interval(name, kinds[0], low, high, _steps(name, value.get("steps")))


def _ends(name: str, value: object) -> tuple[float, float]:
    ends: Sequence[Any] = value if isinstance(value, list) else ()
    try:
        low, high = (float(each) for each in ends)
    except (TypeError, ValueError):
        raise ConfigError(
            f"{name} is no pair of numbers", "Write the smallest and the largest: [0.1, 1]"
        ) from None
    return low, high


def _check(name: str, kind: str, low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ConfigError(f"{name}: {low:g} to {high:g} is no range", "Write the smaller one first")
    if kind == "loguniform" and low <= 0:
        raise ConfigError(f"{name}: loguniform begins at {low:g}", "Begin above 0")
    if kind == "int" and not (low.is_integer() and high.is_integer()):
        raise ConfigError(f"{name}: {low:g} to {high:g} are no whole numbers", "Write whole ones")


def _steps(name: str, value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, str) and value.isdecimal() and int(value) > 0:
        return int(value)
    raise ConfigError(f"{name}: steps cannot be {value!r}", "Give it a whole number above 0")

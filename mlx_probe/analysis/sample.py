"""A stratified sample of a model, as the user names it: some layers, some experts of each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlx_probe.core.errors import ConfigError

__all__ = ["Sample", "parse_sample"]

_PART = re.compile(r"layers=(every:)?([0-9]{1,9})|experts=([0-9]{1,9})", re.ASCII)
_SYNTAX = (
    "Write layers=every:N, layers=K or experts=K, whole numbers from 1; both joined by | need "
    "quotes: --sample 'layers=every:4|experts=8'"
)


@dataclass(frozen=True)
class Sample:
    """What a sample is made of; 0 for all.

    Attributes:
        every: Measure layers 0, N, 2N and so on, and the last one.
        layers: Measure so many layers, spread evenly.
        experts: Measure so many experts of each layer.
    """

    every: int = 0
    layers: int = 0
    experts: int = 0

    def __str__(self) -> str:
        """As the option has it, in one order; "" for everything."""
        parts = {
            "layers=every:": self.every,
            "layers=": self.layers,
            "experts=": self.experts,
        }
        return "|".join(f"{name}{number}" for name, number in parts.items() if number)

    def text(self, seed: int) -> str:
        """With all that decides the choice, for sentences."""
        return f"{self} with seed {seed}" if self.experts else str(self)


def parse_sample(text: str) -> Sample:
    """Read a sample as the user writes it.

    Args:
        text: Such as "layers=every:4|experts=8", parts in any order; "" for everything.

    Raises:
        ConfigError: A part is unknown, given twice, or its number is below 1.
    """
    numbers: dict[str, int] = {}
    for part in map(str.strip, text.split("|")) if text.strip() else ():
        match = _PART.fullmatch(part)
        if match is None or not int(match[2] or match[3]):
            raise ConfigError(f"the sample {text!r} has a wrong part {part!r}", _SYNTAX)
        name = "experts" if match[3] else "every" if match[1] else "layers"
        if name in numbers or (name != "experts" and numbers.keys() & {"every", "layers"}):
            raise ConfigError(f"the sample {text!r} chooses {part.split('=')[0]} twice", _SYNTAX)
        numbers[name] = int(match[2] or match[3])
    return Sample(**numbers)

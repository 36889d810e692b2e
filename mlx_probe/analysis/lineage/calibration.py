"""From numbers to probabilities: a logistic curve and counts, fitted by ``benchmarks/lineage.py``.

The probability of being related is a logistic function of the similarity, fitted to generated
pairs; the probability of a rule's relation is how often the rule was right on them, by Laplace's
rule of succession. Neither goes beyond what so many pairs can show.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["Calibration", "load_calibration"]

_FILE = "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """Fitted numbers; see ``calibration.json``.

    Attributes:
        slope: Of the logistic function of the logit of the similarity.
        intercept: Of the same.
        related: Related pairs that it was fitted to.
        unrelated: Unrelated ones.
        rules: By rule, how many pairs it named and how many of them rightly.
        provenance: Where the numbers come from.
    """

    slope: float
    intercept: float
    related: int
    unrelated: int
    rules: Mapping[str, tuple[int, int]]
    provenance: Mapping[str, Any]

    def probability_related(self, similarity: float) -> float:
        """Probability that two models are related.

        Args:
            similarity: Of `PairNumbers`, from 0 to 1.
        """
        value = self.slope * similarity_logit(similarity) + self.intercept
        probability = 1 / (1 + math.exp(-max(-500.0, min(500.0, value))))
        return min(1 - 1 / (self.related + 2), max(1 / (self.unrelated + 2), probability))

    def probability_of(self, rule: str) -> float:
        """Probability that a rule names the right relation of related models."""
        named, right = self.rules.get(rule, (0, 0))
        return (right + 1) / (named + 2)


def similarity_logit(similarity: float) -> float:
    """The logit of a similarity, which is held away from 0 and 1."""
    held = min(0.999, max(0.001, similarity))
    return math.log(held / (1 - held))


@cache
def load_calibration() -> Calibration:
    """The numbers in the package."""
    known = json.loads(files(__package__).joinpath(_FILE).read_text("utf-8"))
    return Calibration(
        slope=known["slope"],
        intercept=known["intercept"],
        related=known["related"],
        unrelated=known["unrelated"],
        rules={name: (each["named"], each["right"]) for name, each in known["rules"].items()},
        provenance=known["provenance"],
    )

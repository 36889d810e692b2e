"""One sentence about the weights of a training run, with its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_probe.analysis.findings.finding import Text

__all__ = ["Statement"]


@dataclass(frozen=True)
class Statement:
    """A sentence about a training run.

    Attributes:
        topic: "behind", "settled", "moving", "heavy_tails", "overfitted", "rank" or
            "effective_rank".
        sentence: The sentence.
        names: Matrices that it is about, the most telling first.
        evidence: Numbers behind it; JSON values.
    """

    topic: str
    sentence: Text
    names: tuple[str, ...]
    evidence: Mapping[str, Any]

"""Documents about what is unusual: findings."""

from __future__ import annotations

from mlx_probe.analysis.findings import SEVERITIES

from .shape import ANYTHING, TEXT, Schema, listed, mapping, one_of, record

__all__ = ["FINDING"]

FINDING: Schema = record(
    {
        "rule": (TEXT, "The rule's name."),
        "severity": (one_of(SEVERITIES), "How much it matters."),
        "sentence": (TEXT, "What was found."),
        "rows": (listed(TEXT), "Names of the tensors, the most telling first."),
        "evidence": (mapping(ANYTHING), "Numbers; which ones depends on the rule."),
        "remedy": (TEXT, "What to do."),
    }
)

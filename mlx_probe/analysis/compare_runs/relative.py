"""Numbers of runs as multiples of those of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlx_probe.analysis.compare_runs.records import Bins, ComparedRun

__all__ = ["relative_to"]


def relative_to(runs: Sequence[ComparedRun], reference: ComparedRun) -> list[ComparedRun]:
    """Divide every number by that of a reference run, bin by bin.

    Args:
        runs: With plain numbers.
        reference: One of them; its own become 1.

    Returns:
        The runs, with None where the reference has no number, or 0.
    """
    return [
        replace(
            run,
            values={
                name: _ratio(value, reference.values.get(name))
                for name, value in run.values.items()
            },
            profiles={
                name: {
                    group: _ratios(line, reference.profiles.get(name, {}).get(group))
                    for group, line in lines.items()
                }
                for name, lines in run.profiles.items()
            },
        )
        for run in runs
    ]


def _ratios(line: Bins, base: Bins | None) -> Bins:
    bases = base or (None,) * len(line)
    return tuple(_ratio(value, other) for value, other in zip(line, bases, strict=True))


def _ratio(value: float | None, base: float | None) -> float | None:
    if value is None or not base:
        return None
    # An infinite number is as large as itself.
    return 1.0 if value == base else value / base

"""What happened when, in sentences: changes of one column at one step are one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Severity, Text
from mlx_probe.analysis.findings.words import MOST_NAMES, count, figure, percent, ranges
from mlx_probe.analysis.series.curves import Curves
from mlx_probe.analysis.series.events import Change, Tendency
from mlx_probe.analysis.series.followed import Direction, Followed

__all__ = ["findings_of_series", "step_of_finding"]

# A change by a factor of two, with room for one that is a little less.
_COLLAPSE = 0.95 * float(np.log(2.0))
# More changes of one sentence are in the table of changes only.
_MOST_EVIDENCE = 50

_LOOK = Text(
    "Compare the two checkpoints by `mlx-probe compare`, and look at loss, learning rate and data "
    "of these steps."
)
_TREND = Text("Look at the curve in the page: a trend that goes on may end in a collapse.")
_GO_BACK = Text("Go on from a checkpoint before this step, with a smaller learning rate.")
_OTHER = Text("Check that all checkpoints are of one model.")


def findings_of_series(
    curves: Curves,
    changes: Sequence[Change],
    tendencies: Sequence[Tendency],
    columns: Sequence[Followed],
) -> list[Finding]:
    """All sentences: of steps in their order, then those about the whole series.

    Args:
        curves: The series.
        changes: From `changes_in`.
        tendencies: From `tendencies_in`.
        columns: What is followed.
    """
    collapse = {one.column: one.collapse for one in columns}
    said = [*_nonfinite(curves), *_tensors(curves)]
    groups: dict[tuple[int, int, str, Direction], list[Change]] = {}
    for change in changes:
        key = (change.step, change.previous, change.column, change.direction)
        groups.setdefault(key, []).append(change)
    said += [_change(curves, group, collapse) for group in groups.values()]
    jumps = {(change.tensor, change.column) for change in changes}
    order = {"high": 0, "medium": 1, "note": 2}
    said.sort(key=lambda each: (step_of_finding(each), order[each.severity], -each.size))
    trends: dict[tuple[str, Direction], list[Tendency]] = {}
    for tendency in tendencies:
        # A jump is a trend by the test, too, and is said already.
        if (tendency.tensor, tendency.column) not in jumps:
            trends.setdefault((tendency.column, tendency.direction), []).append(tendency)
    return [*said, *(_trend(curves, group) for group in trends.values())]


def step_of_finding(finding: Finding) -> int:
    """The step that a finding is about; -1 for one about the whole series."""
    return int(finding.evidence.get("step", -1))


def _nonfinite(curves: Curves) -> Iterator[Finding]:
    """Tensors by the step at which they first hold NaN or infinity."""
    bad = (np.nan_to_num(curves.column("nan_count")) > 0) | (
        np.nan_to_num(curves.column("inf_count")) > 0
    )
    by_step: dict[int, list[str]] = {}
    for name, row in zip(curves.names, bad, strict=True):
        if row.any():
            by_step.setdefault(curves.steps[int(np.argmax(row))], []).append(name)
    for step, names in by_step.items():
        values = {"count": count(len(names)), "name": names[0], "step": count(step)}
        text = Text(
            "{count} tensors hold NaN or infinity from step {step} on, such as {name}.", values
        )
        if len(names) == 1:
            text = Text("{name} holds NaN or infinity from step {step} on.", values)
        evidence = {"step": step, "tensors": len(names)}
        yield Finding("high", text, tuple(names[:MOST_NAMES]), evidence, _GO_BACK, 1.0, "nonfinite")


def _tensors(curves: Curves) -> Iterator[Finding]:
    """Steps whose tensors are others than those of the step before."""
    for at in range(1, len(curves.steps)):
        before, now = curves.present[:, at - 1], curves.present[:, at]
        for left, template in ((True, "gone"), (False, "new")):
            rows = np.flatnonzero(before & ~now if left else now & ~before)
            if not len(rows):
                continue
            names = [curves.names[int(row)] for row in rows[:MOST_NAMES]]
            values = {
                "count": count(len(rows)), "name": names[0],
                "step": count(curves.steps[at]), "before": count(curves.steps[at - 1]),
            }  # fmt: skip
            text = (
                Text("Step {step} lacks {count} tensors of step {before}, such as {name}.", values)
                if left
                else Text(
                    "Step {step} has {count} tensors that step {before} lacks, such as {name}.",
                    values,
                )
            )
            evidence = {"step": curves.steps[at], "tensors": len(rows), "which": template}
            share = len(rows) / len(curves.names)
            yield Finding("medium", text, tuple(names), evidence, _OTHER, share, "tensors")


def _change(
    curves: Curves, group: Sequence[Change], collapse: Mapping[str, Direction | None]
) -> Finding:
    largest = sorted(group, key=lambda each: -abs(each.size))
    worst = largest[0]
    known = int((~np.isnan(curves.column(worst.column))).any(axis=1).sum())
    middle = float(np.median([change.size for change in group]))
    layers = sorted({change.layer for change in group if change.layer is not None})
    values = {
        "column": worst.column, "count": count(len(group)), "all": count(known),
        "name": worst.tensor, "from": figure(worst.before), "to": figure(worst.after),
        "step": count(worst.step), "layers": ranges(layers) or "-",
    }  # fmt: skip
    falls = worst.direction == "falls"
    if len(group) == 1:
        text = (
            Text("Step {step}: {column} of {name} falls from {from} to {to}.", values)
            if falls
            else Text("Step {step}: {column} of {name} rises from {from} to {to}.", values)
        )
    elif falls:
        text = Text(
            "Step {step}: {column} of {count} of {all} tensors (layers {layers}) falls, most in "
            "{name}, from {from} to {to}.",
            values,
        )
    else:
        text = Text(
            "Step {step}: {column} of {count} of {all} tensors (layers {layers}) rises, most in "
            "{name}, from {from} to {to}.",
            values,
        )
    is_collapse = collapse.get(worst.column) == worst.direction and abs(middle) >= _COLLAPSE
    severity: Severity = "high" if is_collapse else "medium"
    evidence = {
        "step": worst.step,
        "previous": worst.previous,
        "until": max(change.until for change in group),
        "column": worst.column,
        "tensors": len(group),
        "of": known,
        "median_size": round(middle, 4),
        "layers": ranges(layers),
        "changes": [change.as_json() for change in largest[:_MOST_EVIDENCE]],
    }
    names = tuple(change.tensor for change in largest[:MOST_NAMES])
    size = min(1.0, abs(worst.size) / 10.0)
    return Finding(severity, text, names, evidence, _LOOK, size, "change")


def _trend(curves: Curves, group: Sequence[Tendency]) -> Finding:
    worst = group[0]
    known = int((~np.isnan(curves.column(worst.column))).any(axis=1).sum())
    middle = float(np.median([abs(each.size) for each in group]))
    values = {
        "column": worst.column, "count": count(len(group)), "all": count(known),
        "name": worst.tensor, "from": figure(worst.first), "to": figure(worst.last),
        "share": percent(float(-np.expm1(-middle))),
        "more": percent(float(np.expm1(min(middle, 20.0)))),
    }  # fmt: skip
    text = (
        Text(
            "Over all steps: {column} of {count} of {all} tensors falls steadily, by {share} in "
            "the median; most in {name}, from {from} to {to}.",
            values,
        )
        if worst.direction == "falls"
        else Text(
            "Over all steps: {column} of {count} of {all} tensors rises steadily, by {more} in "
            "the median; most in {name}, from {from} to {to}.",
            values,
        )
    )
    evidence = {
        "column": worst.column,
        "tensors": len(group),
        "of": known,
        "median_size": round(middle, 4),
        "trends": [each.as_json() for each in group[:_MOST_EVIDENCE]],
    }
    names = tuple(each.tensor for each in group[:MOST_NAMES])
    return Finding("note", text, names, evidence, _TREND, min(1.0, middle / 10.0), "trend")

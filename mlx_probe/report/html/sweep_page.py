"""A sweep as one HTML page: what each trial came to, which settings did it, and their curves.

The two figures are drawn here, as SVG in the page's colours; table and curves are those of runs
side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.library.experiments.comparing import compare_runs_of
from mlx_probe.library.experiments.records import uncatalogued
from mlx_probe.report.html.experiments_page import experiments_html
from mlx_probe.report.html.markup import html_text
from mlx_probe.runs.experiments.records import Experiment

__all__ = ["sweep_html"]

# Of the drawing, in its own units.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 300, 90, 30, 34, 40
# A range of positive numbers that spans so many times its beginning is drawn in logarithms.
_SPREAD = 30.0
_LONGEST = 24


def sweep_html(sweep: Mapping[str, Any], experiments: Sequence[Experiment | None]) -> str:
    """The page of a sweep; it loads nothing.

    Args:
        sweep: As `SweepResult.describe` says it: metric, direction, best and trials.
        experiments: The run of each trial; None where it left none.
    """
    trials, best = sweep["trials"], sweep["best"]
    finished = [trial for trial in trials if trial["value"] is not None]
    failed = [trial for trial in trials if trial["state"] == "failed"]
    runs = [
        uncatalogued(trial["trial"], experiment)
        for trial, experiment in zip(trials, experiments, strict=True)
        if experiment is not None
    ]
    metric = sweep["metric"]
    facts = {tr("trials"): str(len(trials)), tr("failed"): str(len(failed)), tr("metric"): metric}
    if best is not None:
        facts |= {
            tr("best trial"): f"{best['trial']}: {best['value']:.6g}",
            **{name: str(value) for name, value in best["settings"].items()},
        }
    panels = {}
    if finished:
        names = list(finished[0]["settings"])
        axes = [_axis(name, [t["settings"][name] for t in finished]) for name in names]
        values = _axis(metric, [repr(t["value"]) for t in finished])
        number = best["trial"] if best else None
        panels["trials"] = (tr("Trials"), _by_trial(finished, values, len(trials), number))
        panels["settings"] = (
            tr("Settings and what they came to"),
            _parallel(finished, [*axes, values], number),
        )
    if failed:
        panels["failed"] = (tr("Trials that failed"), _failed(failed))
    title = tr("Sweep of {trials} trials", trials=len(trials))
    return experiments_html(compare_runs_of(runs), title, facts, panels)


class _Axis:
    """One quantity: where each of its values lies, from 0 to 1, and what is written beside it."""

    def __init__(self, name: str, places: list[float], marks: list[tuple[float, str]]) -> None:
        self.name, self.places, self.marks = name, places, marks


def _axis(name: str, texts: Sequence[str]) -> _Axis:
    numbers = [_number(text) for text in texts]
    known = [number for number in numbers if number is not None]
    if len(known) < len(texts):
        # Words: in the order in which they first occur.
        words = list(dict.fromkeys(texts))
        last = max(1, len(words) - 1)
        where = {word: place / last for place, word in enumerate(words)}
        return _Axis(name, [where[text] for text in texts], [(where[w], w) for w in words[:40]])
    low, high = min(known), max(known)
    if low == high:
        return _Axis(name, [0.5] * len(known), [(0.5, f"{low:.4g}")])
    logs = low > 0 and high / low > _SPREAD
    scaled = [math.log(each) if logs else each for each in known]
    first, last_one = min(scaled), max(scaled)
    places = [(each - first) / (last_one - first) for each in scaled]
    middle = math.exp((first + last_one) / 2) if logs else (low + high) / 2
    return _Axis(name, places, [(0, f"{low:.4g}"), (0.5, f"{middle:.4g}"), (1, f"{high:.4g}")])


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _by_trial(
    trials: Sequence[Mapping[str, Any]], values: _Axis, count: int, best: int | None
) -> str:
    """A dot for each trial: its number across, its metric upwards."""
    parts = list(_scale(values, _LEFT, _WIDTH - _RIGHT))
    for trial, place in zip(trials, values.places, strict=True):
        share = (trial["trial"] - 1) / max(1, count - 1)
        x = _LEFT + 14 + share * (_WIDTH - _LEFT - _RIGHT - 28)
        is_best = trial["trial"] == best
        parts.append(
            f'<circle cx="{x:.1f}" cy="{_y(place):.1f}" r="{7 if is_best else 4}" '
            f'fill="{_color(is_best)}"><title>{_told(trial)}</title></circle>'
        )
        if count <= 30:
            parts.append(_text(x, _HEIGHT - 18, str(trial["trial"]), "middle"))
    return _figure(parts, tr("The metric of each trial"))


def _parallel(trials: Sequence[Mapping[str, Any]], axes: Sequence[_Axis], best: int | None) -> str:
    """Parallel coordinates: a line for each trial through its settings to its metric."""
    gap = (_WIDTH - 2 * _LEFT) / max(1, len(axes) - 1)
    across = [_LEFT + at * gap for at in range(len(axes))]
    parts = []
    # The best one last, above the others.
    order = sorted(range(len(trials)), key=lambda at: trials[at]["trial"] == best)
    for at in order:
        is_best = trials[at]["trial"] == best
        points = " ".join(
            f"{x:.1f},{_y(axis.places[at]):.1f}" for x, axis in zip(across, axes, strict=True)
        )
        style = 'stroke-width="3"' if is_best else 'stroke-width="1.3" stroke-opacity="0.55"'
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{_color(is_best)}" {style}>'
            f"<title>{_told(trials[at])}</title></polyline>"
        )
    for x, axis in zip(across, axes, strict=True):
        parts += _scale(axis, x, x)
        parts.append(_text(x, 16, axis.name[:_LONGEST], "middle"))
    return _figure(parts, tr("Each line is a trial: its settings, and at the right its metric"))


def _scale(axis: _Axis, left: float, right: float) -> Iterator[str]:
    """The line of an axis with its marks, as lines across where there is room."""
    yield (
        f'<line x1="{left:.1f}" x2="{left:.1f}" y1="{_y(0)}" y2="{_y(1)}" stroke="currentColor" '
        'stroke-opacity="0.6"/>'
    )
    for place, text in axis.marks:
        y = _y(place)
        yield (
            f'<line x1="{left - 4:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}" '
            'stroke="currentColor" stroke-opacity="0.25"/>'
        )
        yield _text(left - 7, y + 4, text[:_LONGEST], "end")


def _figure(parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html_text(label)}" '
        f'style="width:100%;height:auto">{"".join(parts)}</svg>'
        f'<p class="note">{html_text(label)}</p>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" '
        'fill="currentColor" style="paint-order:stroke;stroke:var(--card);stroke-width:4px">'
        f"{html_text(text)}</text>"
    )


def _y(place: float) -> float:
    return _TOP + (1 - place) * (_HEIGHT - _TOP - _BOTTOM)


def _color(is_best: bool) -> str:
    return "var(--accent)" if is_best else "currentColor"


def _told(trial: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{name}={value}" for name, value in trial["settings"].items())
    return html_text(f"{trial['trial']}: {trial['value']:.6g} ({settings})")


def _failed(trials: Sequence[Mapping[str, Any]]) -> str:
    items = "".join(f"<li>{trial['trial']}: {html_text(trial['reason'])}</li>" for trial in trials)
    return f"<ul>{items}</ul>"

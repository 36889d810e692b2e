"""Runs side by side as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape

from mlx_probe.core.language import tr
from mlx_probe.library.experiments.best import Best
from mlx_probe.library.experiments.comparing import Comparison, Difference, Pair
from mlx_probe.library.experiments.records import StoredRun
from mlx_probe.report.terminal.experiments import SHORT_ID, number_text, value_text
from mlx_probe.report.terminal.listing import Heading, Listing
from mlx_probe.report.terminal.plain import one_line
from mlx_probe.report.terminal.wrapping import cells

__all__ = ["best_text", "comparison_text", "difference_text", "run_labels"]

# Cells that a column of a run takes before it breaks its texts, and between two columns.
_WIDEST, _GAP = 24, 3
_LONGEST = 200
# Runs that `best` lists behind the best one.
_MOST = 10


def comparison_text(comparison: Comparison, width: int, every: bool = False) -> RenderableType:
    """Settings and numbers of runs side by side; runs that have no room follow below.

    Args:
        comparison: The runs.
        width: Cells of a line.
        every: Whether to show the settings that all of them share, too.
    """
    labels = run_labels(comparison.runs)
    config = dict(comparison.differing)
    if every:
        config |= {key: (value,) * len(labels) for key, value in comparison.same.items()}
    kinds = [run.kind for run in comparison.runs]
    rows = [
        [tr("kind"), *kinds],
        [tr("made"), *(run.created_at[:10] for run in comparison.runs)],
        *([one_line(key), *map(_setting, values)] for key, values in config.items()),
        *(
            [one_line(name), *map(number_text, numbers)]
            for name, numbers in comparison.metrics.items()
        ),
    ]
    parts: list[RenderableType] = []
    for chosen in _parts([["", *labels], *rows], width):
        table = Listing([Heading(""), *(Heading(labels[at]) for at in chosen)])
        table.rows.extend([row[0], *(row[1 + at] for at in chosen)] for row in rows)
        parts.append(table)
    if len(comparison.runs) > 1 and not comparison.differing:
        parts.append(escape(tr("All settings agree.")))
    if comparison.same and not every and len(comparison.runs) > 1:
        count = len(comparison.same)
        parts.append(escape(tr("settings that agree: {count}; --all shows them", count=count)))
    return Group(*parts)


def difference_text(difference: Difference) -> RenderableType:
    """What differs between two runs, part by part."""
    labels = run_labels((difference.a, difference.b))
    titles: Mapping[str, tuple[str, tuple[Pair, ...]]] = {
        "config": (tr("Configuration"), difference.config),
        "environment": (tr("Environment"), difference.environment),
        "inputs": (tr("Inputs"), difference.inputs),
        "metrics": (tr("Results"), difference.metrics),
    }
    parts: list[RenderableType] = []
    for part, (title, pairs) in titles.items():
        same = difference.same[part]
        parts.append(f"[bold]{escape(tr('{part}, same: {count}', part=title, count=same))}[/]")
        if not pairs:
            parts += [f"  {escape(tr('nothing differs'))}", ""]
            continue
        extra = [Heading(tr("change"), is_number=True)] if part == "metrics" else []
        table = Listing([Heading(""), *map(Heading, labels), *extra])
        for pair in pairs:
            table.rows.append(_pair(pair, bool(extra)))
        parts.append(table)
    return Group(*parts)


def best_text(best: Best) -> RenderableType:
    """The best run, the next ones, and what was not asked."""
    way = tr("smallest") if best.direction == "min" else tr("largest")
    value = number_text(best.value)
    lines = [
        tr("{way} {metric}: {value}", way=way, metric=best.metric, value=value),
        *(f"  {run.id[:SHORT_ID]}  {run.name}  {run.folder}" for run in best.runs),
    ]
    if len(best.runs) > 1:
        lines.append(tr("a tie of {count} runs", count=len(best.runs)))
    if best.missing:
        lines.append(tr("runs without {metric}: {count}", metric=best.metric, count=best.missing))
    parts: list[RenderableType] = ["\n".join(escape(one_line(line)) for line in lines)]
    others = best.ranked[len(best.runs) :]
    if others:
        table = Listing(
            [Heading(tr("id")), Heading(tr("run")), Heading(best.metric, is_number=True)]
        )
        for run, number in others[:_MOST]:
            table.rows.append([run.id[:SHORT_ID], one_line(run.name), number_text(number)])
        parts.append(table)
        if len(others) > _MOST:
            parts.append(escape(tr("and {count} more", count=len(others) - _MOST)))
    return Group(*parts)


def run_labels(runs: Sequence[StoredRun]) -> list[str]:
    """A name for each run that no other one of them has: its own, or that with its id."""
    names = [one_line(run.name) for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} {run.id[:SHORT_ID]}"
        for name, run in zip(names, runs, strict=True)
    ]


def _parts(rows: Sequence[Sequence[str]], width: int) -> Iterator[range]:
    """The runs in parts that have room beside the names of settings.

    Args:
        rows: All rows, the headings first; the names of the settings are their first cells.
        width: Cells of a line.
    """
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    room = width - 2 - min(widths[0], width // 2)
    begin, taken = 0, 0
    for at, wanted in enumerate(widths[1:]):
        needed = min(wanted, _WIDEST) + _GAP
        if taken + needed > room and at > begin:
            yield range(begin, at)
            begin, taken = at, 0
        taken += needed
    yield range(begin, len(widths) - 1)


def _setting(value: object) -> str:
    text = "-" if value is None else one_line(value_text(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _pair(pair: Pair, is_metric: bool) -> list[str]:
    if not is_metric:
        return [one_line(pair.name), _setting(pair.a), _setting(pair.b)]
    a, b = (value if isinstance(value, (int, float)) else None for value in (pair.a, pair.b))
    marks = {"a": (" *", ""), "b": ("", " *")}.get(pair.better, ("", ""))
    change = "-"
    if a is not None and b is not None:
        change = f"{(b - a) / abs(a):+.2%}" if a else f"{b - a:+.5g}"
    texts = [f"{number_text(value)}{mark}" for value, mark in zip((a, b), marks, strict=True)]
    return [one_line(pair.name), *texts, change]

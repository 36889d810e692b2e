"""What columns mean, and where a run's values lie, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from mlx_probe.analysis.explain import Explanation
from mlx_probe.analysis.typical import number_text
from mlx_probe.core.language import tr
from mlx_probe.report.terminal.plain import one_line
from mlx_probe.report.terminal.wrapping import cells, padded, wrapped

if TYPE_CHECKING:  # it needs pandas, an explanation does not
    from mlx_probe.analysis.positions import Position

__all__ = ["explained", "listed", "located"]

_INDENT = "  "
# Lines are not wrapped wider than this, or they are hard to read.
_WIDEST = 100
_MOST_ROWS = 10
_MOST_TEXTS = 10
_METRICS = "--metrics"


def explained(explanations: Sequence[Explanation], width: int) -> Iterator[str]:
    """The lines about one column; what two tables say alike is said once.

    Args:
        explanations: Of the tables that have the column, at least one.
        width: Columns of the terminal.
    """
    first = explanations[0]
    column = max(cells(name) for name, _ in _facts(first)) + len(_INDENT)
    yield f"{first.name}  {first.title}"
    yield from _wrapped(first.plain, width, _INDENT)
    for at, explanation in enumerate(explanations):
        yield ""
        place = {"table": explanation.table, "family": explanation.family}
        yield _INDENT + tr("table {table}: {family}", **place)
        known = {} if at == 0 else dict(_facts(explanations[at - 1]))
        facts = [(name, text) for name, text in _facts(explanation) if known.get(name) != text]
        yield from _aligned(facts, column, width)


def _facts(explanation: Explanation) -> list[tuple[str, str]]:
    facts = (
        (tr("definition"), explanation.definition),
        (tr("formula"), explanation.formula),
        (tr("values"), _values(explanation)),
        (tr("typical"), explanation.typical),
        (tr("caution"), explanation.caveat),
        (tr("source"), explanation.source),
    )
    return [(name, text) for name, text in facts if text]


def _values(explanation: Explanation) -> str:
    parts = [explanation.type]
    if explanation.unit:
        parts.append(tr("in {unit}", unit=explanation.unit))
    low, high = explanation.lower, explanation.upper
    if low is not None and high is not None:
        parts.append(tr("{low} to {high}", low=f"{low:g}", high=f"{high:g}"))
    elif low is not None:
        parts.append(tr("at least {low}", low=f"{low:g}"))
    elif high is not None:
        parts.append(tr("at most {high}", high=f"{high:g}"))
    if explanation.metric_set:
        parts.append(tr("from {option} on", option=f"{_METRICS} {explanation.metric_set}"))
    return tr(", ").join(parts)


def listed(explanations: Iterable[Explanation]) -> Iterator[str]:
    """All columns by table and family: their names and titles."""
    tables: dict[str, dict[str, list[Explanation]]] = {}
    for explanation in explanations:
        families = tables.setdefault(explanation.table, {})
        families.setdefault(explanation.family, []).append(explanation)
    for number, (table, families) in enumerate(tables.items()):
        yield from [""] if number else []
        yield tr("table {table}", table=table)
        for family, members in families.items():
            yield f"{_INDENT}{family}"
            yield from (f"{_INDENT * 2}{each.name:<27} {each.title}" for each in members)


def located(position: Position, run: str, width: int) -> Iterator[str]:
    """The lines about a column's values in one table of a run.

    Args:
        position: The values.
        run: The run, as the user named it.
        width: Columns of the terminal.
    """
    head = tr("in {run}, table {table}", run=one_line(run), table=position.table)
    yield _INDENT + (tr("{what}, of the sample", what=head) if position.of_sample else head)
    yield from _wrapped(_summary(position), width, _INDENT * 2)
    if position.counts:
        names = [one_line(name) for name in list(position.counts)[:_MOST_TEXTS]]
        column = max(map(cells, names))
        for name, count in zip(names, position.counts.values(), strict=False):
            yield f"{_INDENT * 3}{padded(name, column)}  {count:,}"
        if (rest := len(position.counts) - _MOST_TEXTS) > 0:
            yield _INDENT * 3 + tr("and {count} more", count=f"{rest:,}")
    if position.typical_low is None or position.typical_high is None:
        return
    low, high = number_text(position.typical_low), number_text(position.typical_high)
    text = tr(
        "outside of {low} to {high}, the range of the trained models: {count} of {all}",
        **{"count": f"{len(position.outside):,}", "all": f"{position.count:,}"},
        low=low,
        high=high,
    )
    yield from _wrapped(text, width, _INDENT * 2)
    for outside in position.outside[:_MOST_ROWS]:
        value = f"{outside.value:.4g}"
        yield f"{_INDENT * 3}{value:>10}  {one_line(outside.row)}"
    if (rest := len(position.outside) - _MOST_ROWS) > 0:
        yield _INDENT * 3 + tr("and {count} more", count=f"{rest:,}")


def _summary(position: Position) -> str:
    if position.values is None:
        return tr("{count} values", count=f"{position.count:,}")
    values = position.values
    if position.least is None or position.greatest is None:
        return tr(
            "{count} values; {share} of them are true",
            count=f"{position.count:,}",
            share=f"{values.median:.1%}",
        )
    text = tr(
        "{count} values: {low} to {high} (median {median}), least {least}, greatest {greatest}",
        count=f"{position.count:,}",
        low=number_text(values.low),
        high=number_text(values.high),
        median=number_text(values.median),
        least=number_text(position.least),
        greatest=number_text(position.greatest),
    )
    divided = {
        "short_side": tr("shares of the short side"),
        "head_dim": tr("shares of head_dim"),
        "std": tr("in units of std"),
    }
    return tr("; ").join([text, divided[position.divided_by]]) if position.divided_by else text


def _aligned(facts: Sequence[tuple[str, str]], column: int, width: int) -> Iterator[str]:
    for name, text in facts:
        head = _INDENT * 2 + padded(name, column)
        yield from _wrapped(text, width, " " * cells(head), head)


def _wrapped(text: str, width: int, indent: str, first: str | None = None) -> Iterator[str]:
    """The lines of a text, indented; a pipe has no width and gets one line."""
    lines = wrapped(text, min(max(width - cells(indent), 20), max(_WIDEST, width // 100)))
    yield (indent if first is None else first) + lines[0]
    yield from (indent + line for line in lines[1:])

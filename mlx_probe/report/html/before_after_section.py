"""What a training changed in the answers, as a section of its page."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mlx_probe.core.language import tr
from mlx_probe.report.before_after import BeforeAfter, MeasuredTwice, Record
from mlx_probe.report.html.answers_page import asking_facts, cell_text
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.html.sections import fact_table, head_cells, number_table, table, text_row
from mlx_probe.report.terminal.answers import difference_texts, measured_texts

__all__ = ["before_after_section"]

# Questions of each kind that the page shows.
_SHOWN = 50
_NOTHING = ("", "", "")


def before_after_section(found: BeforeAfter) -> str:
    """Metrics with their intervals and the paired test, what went wrong, and what changed."""
    comparison = found.comparison
    said = tr(
        "{items} questions of {task}, answered by {before} and by {after}: {right} became right, "
        "{wrong} became wrong.",
        items=comparison["items"],
        task=comparison["task"],
        before=found.before["model"],
        after=found.after["model"],
        right=len(comparison["became_right"]),
        wrong=len(comparison["became_wrong"]),
    )
    how = tr(
        "Each value has its interval of 95 %. A difference has a bootstrap interval over the "
        "questions, and where answers are right or wrong p of McNemar's exact test, on the "
        "questions that one of the two answers alone is right on."
    )
    rest = tr(
        "`mlx-probe report {folder}` shows all that is still wrong.", folder=comparison["second"]
    )
    heads = (tr("before"), tr("after"))
    parts = [
        f"<p>{html_text(said)}</p>",
        _measured(found.measured),
        f'<p class="note">{html_text(how)}</p>',
        _changed(tr("Became right"), found.pairs(comparison["became_right"]), 0),
        _changed(tr("Became wrong"), found.pairs(comparison["became_wrong"]), 1),
        _folded(tr("What went wrong"), _errors(found)),
        _folded(
            tr("How it was asked"),
            fact_table(tr("How it was asked"), [_facts(found.before), _facts(found.after)], heads),
        ),
        f'<p class="note">{html_text(rest)}</p>',
    ]
    heading = html_text(tr("Evaluation before and after"))
    return (
        f'<section id="evaluation" class="card wide"><h2>{heading}</h2>{"".join(parts)}</section>'
    )


def _measured(rows: Sequence[MeasuredTwice]) -> str:
    interval = tr("interval, 95 %")
    heads = (
        *(tr("metric"), tr("before"), interval, tr("items"), tr("after"), interval, tr("items")),
        *(tr("difference"), interval, "p"),
    )
    cells = []
    for row in rows:
        before, after = _value(row, row.before, "first"), _value(row, row.after, "second")
        paired = _NOTHING if row.paired is None else difference_texts(row.paired)
        cells.append((row.title, *before, *after, *paired))
    return number_table(tr("Evaluation before and after"), heads, cells)


def _value(row: MeasuredTwice, record: Record | None, side: str) -> tuple[str, str, str]:
    if record is not None:
        return measured_texts(record)
    return _NOTHING if row.paired is None else (f"{row.paired[side]:.3f}", "", "")


def _changed(title: str, pairs: Sequence[tuple[Record, Record]], wrong: int) -> str:
    """Questions that changed.

    Args:
        title: What became of them.
        pairs: Before and after.
        wrong: Which of the two is wrong.
    """
    if not pairs:
        return ""
    heads = (
        *(tr("item"), tr("question"), tr("wanted"), tr("answer before"), tr("answer after")),
        tr("what was wrong"),
    )
    rows = [
        text_row(
            pair[0]["id"],
            (
                cell_text(pair[0].get("question")),
                json.dumps(pair[0].get("wanted") or [], ensure_ascii=False),
                cell_text(pair[0].get("answer")),
                cell_text(pair[1].get("answer")),
                cell_text(": ".join(filter(None, (pair[wrong]["error"], pair[wrong]["detail"])))),
            ),
        )
        for pair in pairs[:_SHOWN]
    ]
    left = len(pairs) - len(rows)
    more = f'<p class="note">{html_text(tr("{count} more", count=left))}</p>' if left else ""
    return _folded(f"{title}: {len(pairs)}", table(title, head_cells(heads), rows) + more)


def _errors(found: BeforeAfter) -> str:
    rows = [(name, str(first), str(second)) for name, first, second in found.errors]
    return number_table(tr("What went wrong"), (tr("error"), tr("before"), tr("after")), rows)


def _facts(result: Record) -> dict[str, str]:
    return {tr("model"): str(result["model"]), **asking_facts(result)}


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{html_text(title)}</summary>{content}</details>"

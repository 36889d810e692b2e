"""The parts of the page that need no script: facts, checks, cost, places of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlx_probe.analysis.side_tables import Side
from mlx_probe.core.language import tr
from mlx_probe.report.html.markup import html_text

__all__ = [
    "cost_table",
    "fact_list",
    "fact_table",
    "grid",
    "head_cells",
    "number_table",
    "sentence_section",
    "side_section",
    "table",
    "text_row",
    "validation",
]

_COST = ("seconds", "bytes", "gbps", "share_of_copy", "gflops", "share_of_product")


def fact_list(facts: Mapping[str, str]) -> str:
    """Facts of one run as a list."""
    items = (f"<dt>{html_text(k)}</dt><dd>{html_text(v)}</dd>" for k, v in facts.items())
    return f'<dl class="facts">{"".join(items)}</dl>'


def sentence_section(sentences: Iterable[str]) -> str:
    """What a page says in words, as a list."""
    items = "".join(f"<li>{html_text(text)}</li>" for text in sentences)
    return (
        f'<section id="summary" class="card wide"><h2>{html_text(tr("In words"))}</h2>'
        f'<ul class="findings">{items}</ul></section>'
    )


def fact_table(name: str, facts: Sequence[Mapping[str, str]], heads: Sequence[str]) -> str:
    """Facts of several runs side by side; those that differ are marked by a word and a colour.

    Args:
        name: What the table is about, for screen readers and as the name of its CSV file.
        facts: The facts of each run.
        heads: The name of each run.
    """
    labels = dict.fromkeys(label for of in facts for label in of)
    rows = []
    for label in labels:
        values = [of.get(label, "") for of in facts]
        differs = len(set(values)) > 1
        mark = f' <span class="badge differs">{html_text(tr("differs"))}</span>' if differs else ""
        cells = "".join(f'<td class="wrap">{html_text(value)}</td>' for value in values)
        kind = ' class="differs"' if differs else ""
        rows.append(f'<tr{kind}><th scope="row">{html_text(label)}{mark}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{html_text(text)}</th>' for text in ("", *heads))
    return table(name, head.replace('<th scope="col"></th>', "<td></td>", 1), rows)


def table(name: str, head: str, rows: Iterable[str]) -> str:
    """A table that scrolls inside itself and can be saved as CSV.

    Args:
        name: What it is about.
        head: Cells of its heading.
        rows: Its rows.
    """
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html_text(name)}">'
        f'<table data-save="{html_text(name)}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def head_cells(heads: Iterable[str]) -> str:
    """The heading of a table of texts."""
    return "".join(f'<th scope="col">{html_text(text)}</th>' for text in heads)


def text_row(name: str, cells: Iterable[str]) -> str:
    """A row of a table of texts."""
    texts = "".join(f'<td class="wrap">{html_text(cell)}</td>' for cell in cells)
    return f'<tr><th scope="row">{html_text(name)}</th>{texts}</tr>'


def number_table(name: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names what the numbers in the others are of.

    Args:
        name: What it is about.
        heads: Of each column.
        rows: Cells of each row; the numbers as they are shown.
    """
    first, *others = heads
    head = head_cells([first]) + "".join(
        f'<th scope="col" class="number">{html_text(text)}</th>' for text in others
    )
    lines = (
        f'<tr><th scope="row">{html_text(cells[0])}</th>'
        + "".join(f'<td class="number">{html_text(cell)}</td>' for cell in cells[1:])
        + "</tr>"
        for cells in rows
    )
    return table(name, head, lines)


def grid(table: str, key: str, run: int = 0) -> str:
    """The place of a table that the script fills.

    Args:
        table: Its key in the page's data.
        key: Its name in the page's address.
        run: Number of the run that it belongs to.
    """
    return f'<div class="grid" data-table="{table}" data-key="{key}" data-run="{run}"></div>'


def side_section(
    side: Side,
    tables: Sequence[Mapping[str, Any] | None],
    heads: Sequence[str],
    samples: Sequence[str],
) -> str:
    """The section of a side table: its map, and the rows of each run that has it.

    Args:
        side: The side table.
        tables: Its data in each run, None in a run that lacks it.
        heads: The name of each run.
        samples: What the sample of each run takes; "" for everything.
    """
    drawn = any(of is not None and of["map"] for of in tables)
    marks = [f"{head}: " for head in heads] if len(heads) > 1 else [""]
    parts = [_sample_note(sample, head) for sample, head in zip(samples, marks, strict=True)]
    parts.append(f'<section class="map" data-table="{side.key}"></section>' if drawn else "")
    for run, of in enumerate(tables):
        if of is not None:
            several = len(tables) > 1
            heading = f"<h3>{html_text(heads[run])}</h3>" if several else ""
            key = f"{side.key}-{'AB'[run]}" if several else side.key
            parts.append(heading + grid(side.key, key, run))
    heading = f"<h2>{html_text(tr(side.title))}</h2>"
    return f'<section id="{side.key}" class="card wide">{heading}{"".join(parts)}</section>'


def _sample_note(sample: str, mark: str) -> str:
    """What the rows of a side table are of, where that is a part of the model."""
    if not sample:
        return ""
    text = tr("Of the sample alone, and compared within it: {sample}.", sample=sample)
    return f'<p class="note">{html_text(mark + text)}</p>'


def validation(found: object) -> str:
    """The outcome of a run's checks, with the details of those that failed."""
    if not isinstance(found, Mapping):
        return f'<p class="note">{html_text(tr("This run records no validation."))}</p>'
    checks = [check for check in found.get("checks", ()) if isinstance(check, Mapping)]
    failed = [check for check in checks if not check.get("passed")]
    if not failed:
        rest = html_text(tr("all {count} checks passed.", count=len(checks)))
        return f'<p><span class="passed">{html_text(tr("Valid:"))}</span> {rest}</p>'
    items = "".join(
        f"<li>{html_text(c.get('name'))}: {html_text(c.get('detail'))}</li>" for c in failed
    )
    rest = tr("{failed} of {count} checks failed.", failed=len(failed), count=len(checks))
    return (
        f'<p><span class="failed">{html_text(tr("Not valid:"))}</span> {html_text(rest)}</p>'
        f"<ul>{items}</ul>"
    )


def cost_table(meta: Mapping[str, Any], letter: str = "") -> str:
    """What each stage of a run cost, if it recorded that.

    Args:
        meta: The run's metadata.
        letter: Which of several runs it is.
    """
    stages, limit = meta.get("stages"), meta.get("limit")
    if not isinstance(stages, Mapping) or not stages:
        return ""
    heads = (
        *(tr("stage"), tr("worker s"), tr("bytes"), "GB/s", tr("of a copy"), "GFLOP/s"),
        tr("of a product"),
    )
    rows = []
    for stage, cost in stages.items():
        known = cost if isinstance(cost, Mapping) else {}
        cells = "".join(_number_cell(known.get(name), name) for name in _COST)
        rows.append(f"<tr><td>{html_text(stage)}</td>{cells}</tr>")
    limited = ""
    if isinstance(limit, Mapping) and isinstance(limit.get("share"), (int, float)):
        text = tr(
            "What limited it: {name} ({share} of {of}).",
            name=limit.get("name"),
            share=f"{limit['share']:.0%}",
            of=limit.get("of"),
        )
        limited = f'<p class="note">{html_text(text)}</p>'
    head = "".join(
        f'<th scope="col"{" class=number" if n else ""}>{html_text(h)}</th>'
        for n, h in enumerate(heads)
    )
    title = " ".join(filter(None, (tr("Cost by stage"), letter)))
    return f"<h3>{html_text(title)}</h3>{table(title, head, rows)}{limited}"


def _number_cell(value: object, name: str) -> str:
    if not isinstance(value, (int, float)) or not value:
        return '<td class="number" data-value="">-</td>'
    shown = f"{value:,.0f}" if name == "bytes" else f"{value:.2f}"
    if name.startswith("share"):
        shown = f"{value:.0%}"
    return f'<td class="number" data-value="{value!r}">{shown}</td>'

"""The page of a series: what happened when, and everything at the step that a slider chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mlx_probe.core.language import tr
from mlx_probe.report.html.frame import filled_page
from mlx_probe.report.html.markup import html_text, part
from mlx_probe.report.html.sections import fact_list, grid
from mlx_probe.report.html.series_payload import series_payload
from mlx_probe.report.series_data import SeriesData, series_sentences
from mlx_probe.report.terminal.findings import severity_word

__all__ = ["SCRIPTS", "series_html"]

SCRIPTS = (
    *("text", "data", "address", "theme", "tips", "save", "cells", "map", "map_panel", "spectrum"),
    *("rows", "grid", "training_spectrum", "training_maps", "series_step", "series_main"),
)
_BADGES = {"high": "badge status", "medium": "badge deviation", "note": "badge"}
# Links of one sentence; the table of changes has all.
_MOST_LINKS = 12


def series_html(data: SeriesData) -> str:
    """A series as one HTML page that loads nothing; see `report_html`."""
    sections = {
        "findings": tr("What happened when"),
        "curve": tr("Curve"),
        "layers": tr("Layers"),
        "spectra": tr("Spectrum"),
        "maps": tr("Maps"),
        "table": tr("Changes"),
        "rows": tr("Rows"),
        "run": tr("Settings"),
    }
    steps = data.steps
    return filled_page(
        series_payload(data),
        SCRIPTS,
        title=data.name,
        subtitle=html_text(
            tr(
                "{count} checkpoints, steps {first} to {last}",
                count=len(steps),
                first=f"{steps[0]:,}",
                last=f"{steps[-1]:,}",
            )
        ),
        sections=sections,
        findings=_findings(data.meta),
        heading=html_text(tr("The series")),
        model_facts=fact_list(_facts(data)),
        panels=part("panel_series.html") + part("panel_training_maps.html"),
        table_heading=html_text(tr("Changes")),
        grid=grid("changes", "table"),
        sides=(
            f'<section id="rows" class="card wide"><h2>'
            f"{html_text(tr('All rows of the checkpoints'))}</h2>{grid('params', 'rows')}</section>"
        ),
        run_heading=html_text(tr("Settings")),
        run=fact_list({name: str(value) for name, value in data.meta["configuration"].items()}),
    )


def _facts(data: SeriesData) -> dict[str, str]:
    meta = data.meta
    names = [str(name) for name in meta["steps"].values()]
    known = names if len(names) <= 6 else [*names[:3], "...", *names[-2:]]
    return {
        tr("checkpoints"): f"{len(names)}: {', '.join(known)}",
        tr("of"): ", ".join(one["name"] for one in meta["inputs"][:4]),
        tr("tensors"): f"{meta['metrics']['tensors']:,}",
        tr("changes"): f"{meta['metrics']['changes']:,}",
        tr("written at"): str(meta["created_at"]),
    }


def _findings(meta: Mapping[str, Any]) -> str:
    """Sentences by their step, and those about the whole series."""
    by_step: dict[int, list[str]] = {}
    for finding, sentence in zip(meta["findings"], series_sentences(meta), strict=True):
        step = int(finding["evidence"].get("step", -1))
        by_step.setdefault(step, []).append(_item(finding, sentence, step))
    heading = html_text(tr("What happened when"))
    if not by_step:
        nothing = html_text(tr("Nothing: no column of any tensor jumps or has a trend."))
        if len(meta["steps"]) < 5:
            nothing = html_text(tr("Fewer than 5 checkpoints do not show what is usual."))
        content = f'<p><span class="passed">{nothing}</span></p>'
    else:
        content = '<dl class="when">'
        # What is about the whole series comes last.
        for step, items in sorted(by_step.items(), key=lambda of: (of[0] < 0, of[0])):
            when = tr("all steps") if step < 0 else tr("step {step}", step=f"{step:,}")
            content += f"<dt>{html_text(when)}</dt><dd><ul>{''.join(items)}</ul></dd>"
        content += "</dl>"
    return f'<section id="findings" class="card wide"><h2>{heading}</h2>{content}{_how()}</section>'


def _item(finding: Mapping[str, Any], sentence: str, step: int) -> str:
    severity = finding["severity"]
    badge = f'<span class="{_BADGES[severity]}">{html_text(severity_word(severity))}</span>'
    column = finding["evidence"].get("column")
    links = ", ".join(_link(name, step, column) for name in finding["rows"][:_MOST_LINKS])
    left = len(finding["rows"]) - _MOST_LINKS
    if left > 0:
        links += html_text(tr(" and {count} more", count=left))
    which = html_text(tr("The tensors"))
    return (
        f"<li>{badge} {html_text(sentence)}<details><summary>{which}</summary>"
        f'<p class="note">{links}</p></details></li>'
    )


def _link(name: str, step: int, column: str | None) -> str:
    """A tensor's name that leads to its curve at a step, by the page's address."""
    address = f"#at=curve&amp;tensor={quote(name, safe='')}"
    address += f"&amp;tensor.step={step}" if step >= 0 else ""
    address += f"&amp;curve.metric={quote(column, safe='')}" if column else ""
    return f'<a href="{address}">{html_text(name)}</a>'


def _how() -> str:
    """By which rules the sentences are made."""
    rules: Sequence[str] = (
        tr(
            "A change: the column jumps by more than its usual drift allows. The drift of each "
            "interval is the more generous of one that is even in the steps and one that is even "
            "in their logarithm; segments are found by optimal partitioning, with a price at which "
            "one series in a hundred has a false change."
        ),
        tr(
            "A trend: the Mann-Kendall test with the variance of Hamed and Rao, one in a hundred "
            "false by Benjamini and Hochberg, and a Theil-Sen slope that is large enough."
        ),
    )
    texts = "".join(f'<p class="note">{html_text(rule)}</p>' for rule in rules)
    how = html_text(tr("How these sentences are made"))
    return f"<details><summary>{how}</summary>{texts}</details>"

"""A load test as one HTML page: figure, latencies, and the rates of a sweep. It has no scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.report.figures.load_test import load_test_image
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.html.plain_page import page_section, plain_page
from mlx_probe.report.html.sections import fact_list, table
from mlx_probe.report.terminal.load_test import facts, latency_rows, sweep_rows, verdict

__all__ = ["load_test_html"]


def load_test_html(result: Mapping[str, Any]) -> str:
    """A page that is complete in itself.

    Args:
        result: From `load_test` or `sweep`, with what each request took.

    Raises:
        ConfigError: matplotlib, which draws its figure, is not installed.
    """
    svg = load_test_image(result, "svg").decode()
    # What stands before the element is for files of their own.
    drawn = svg[svg.index("<svg") :]
    title = tr("Load test")
    sections = [
        page_section(title, fact_list(facts(result))),
        page_section(
            tr("Latencies"), _drawn(drawn) + _table(tr("Latencies"), latency_rows(result))
        ),
    ]
    if result.get("sweep"):
        said = f"<p>{html_text(verdict(result['sweep']))}</p>"
        sections.append(page_section(tr("Rates"), said + _table(tr("Rates"), sweep_rows(result))))
    subtitle = f"{result['model_id']}, {result['base_url']}, {result['date']}"
    return plain_page(title, subtitle, "".join(sections))


def _drawn(svg: str) -> str:
    label = html_text(tr("Latencies, and load over time"))
    # Its colours are those of paper.
    return (
        f'<div role="img" aria-label="{label}" style="background:#fff;border-radius:6px;'
        f'overflow-x:auto">{svg}</div>'
    )


def _table(name: str, rows: list[list[str]]) -> str:
    head, *body = rows
    heads = "".join(f'<th scope="col">{html_text(text)}</th>' for text in head)
    lines = [
        f'<tr><th scope="row">{html_text(first)}</th>'
        + "".join(f"<td>{html_text(text)}</td>" for text in rest)
        + "</tr>"
        for first, *rest in body
    ]
    return table(name, heads, lines)

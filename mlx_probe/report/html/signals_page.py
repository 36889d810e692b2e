"""The page of a mixture's signals: windows, experts, and the map of blocks with its animation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.report.facts import model_facts, run_facts
from mlx_probe.report.html.frame import filled_page
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.html.sections import (
    cost_table,
    fact_list,
    grid,
    number_table,
    sentence_section,
    validation,
)
from mlx_probe.report.html.signals_payload import signals_payload
from mlx_probe.report.run_data import RunData
from mlx_probe.report.signals_data import SignalsData
from mlx_probe.report.signals_summary import signals_sentences
from mlx_probe.runs.mixture.signals import WINDOWS

__all__ = ["SCRIPTS", "signals_html"]

SCRIPTS = (
    *("text", "data", "address", "theme", "tips", "save", "cells", "map", "map_panel", "rows"),
    *("grid", "curve_panel", "tokens", "block_map", "signals_main"),
)


def signals_html(data: SignalsData) -> str:
    """A run of `moe signals` as one HTML page that loads nothing; see `report_html`."""
    payload = signals_payload(data)
    tables = payload["runs"][0]["tables"]
    run = RunData(data.windows, data.columns(WINDOWS), data.meta)
    agreement = data.meta.get("agreement")
    panels = {
        "curves": (tr("Windows"), tr("Over the windows of the text"), ""),
        **(
            {"agreement": (tr("Agreement"), tr("Which signals agree"), _agreement(agreement))}
            if isinstance(agreement, Mapping)
            else {}
        ),
        **(
            {"maps": (tr("Experts"), tr("Experts over the layers"), "")}
            if "experts" in tables
            else {}
        ),
        **({"sps": (tr("Blocks"), tr("Map of blocks"), "")} if payload["sps"] else {}),
    }
    sides = {
        **({"experts": tr("All experts")} if "experts" in tables else {}),
        **({"tokens": tr("Tokens of the map")} if "tokens" in tables else {}),
    }
    sections = {
        "summary": tr("Summary"),
        "model": tr("Model"),
        **{key: name for key, (name, _, _) in panels.items()},
        "table": tr("Rows of windows"),
        **{f"{key}-rows": name for key, name in sides.items()},
        "run": tr("Run"),
    }
    return filled_page(
        payload,
        SCRIPTS,
        title=data.name,
        subtitle=tr("signals of a mixture of experts"),
        sections=sections,
        findings=sentence_section(signals_sentences(data)),
        heading=html_text(tr("The model")),
        model_facts=fact_list(model_facts(run)),
        panels="".join(_panel(key, head, more) for key, (_, head, more) in panels.items()),
        table_heading=html_text(tr("All windows")),
        grid=grid("windows", "table"),
        sides="".join(_rows(key, name) for key, name in sides.items()),
        run_heading=html_text(tr("The run")),
        run=validation(data.meta.get("validation"))
        + cost_table(data.meta)
        + fact_list(run_facts(run)),
    )


def _panel(key: str, heading: str, content: str) -> str:
    kind = 'class="card wide map" data-table="experts" data-key="maps"'
    attributes = kind if key == "maps" else 'class="card wide"'
    return f'<section id="{key}" {attributes}><h2>{html_text(heading)}</h2>{content}</section>'


def _agreement(found: Mapping[str, Any]) -> str:
    names = [str(name) for name in found.get("signals", ())]
    rows = [
        (name, *("" if value is None else f"{value:.2f}" for value in line))
        for name, line in zip(names, found.get("rank", ()), strict=True)
    ]
    note = tr(
        "Spearman's correlation over the windows: 1 where two signals order them alike, -1 in "
        "reverse, 0 where one says nothing about the other. A signal that agrees with the loss "
        "adds little to it."
    )
    table = number_table(tr("Which signals agree"), (tr("signal"), *names), rows)
    return f'<p class="note">{html_text(note)}</p>{table}'


def _rows(key: str, name: str) -> str:
    return (
        f'<section id="{key}-rows" class="card wide"><h2>{html_text(name)}</h2>'
        f"{grid(key, f'{key}-rows')}</section>"
    )

"""The page of a run, or of two side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.facts import Facts, model_facts, run_facts, title_of
from mlx_probe.report.html.extraction_section import EXTRACTION, extraction_section
from mlx_probe.report.html.findings import findings_section
from mlx_probe.report.html.frame import filled_page
from mlx_probe.report.html.markup import html_text, part
from mlx_probe.report.html.payload import page_payload
from mlx_probe.report.html.sections import (
    cost_table,
    fact_list,
    fact_table,
    grid,
    side_section,
    validation,
)
from mlx_probe.report.outliers import rule_text, sample_note, unreliable_fits
from mlx_probe.report.run_data import RunData
from mlx_probe.report.summary import summary_facts
from mlx_probe.runs.sample_line import sample_head, sample_line

__all__ = ["SCRIPTS", "report_html"]

# Each needs only what those before it define, or what is defined when the page has started.
SCRIPTS = (
    *("text", "data", "address", "theme", "tips", "save", "items", "cells", "map", "map_panel"),
    *("spectrum", "tensor", "outliers", "quantization", "rows", "grid", "main"),
)


def report_html(data: RunData, other: RunData | None = None) -> str:
    """A run, or two side by side, as one HTML page that loads nothing.

    Its policy lets run only the scripts that are in it, by their hashes, and forbids every
    connection: text from a file that got past the escaping could neither run nor send anything.
    Its texts are in the reader's language.

    Args:
        data: The run.
        other: A second one, whose tensors are paired with those of the first by name and role.

    Returns:
        The page; about 5 MB of it are the plotting library.

    Raises:
        ConfigError: One run measures a model and the other compares two.
    """
    runs = [data] if other is None else [data, other]
    if len({run.is_compare for run in runs}) > 1:
        raise ConfigError(
            f"{title_of(data)} and {title_of(runs[1])} are runs of different commands",
            "Name two runs of analyze, or two of compare",
        )
    payload = page_payload(runs)
    heads = [title_of(run) for run in runs]
    if len(runs) > 1:
        heads = [f"{letter}: {head}" for letter, head in zip("AB", heads, strict=True)]
    sides = [key for key in SIDES if any(key in run.sides for run in runs)]
    panels = _panels(payload["runs"])
    findings = findings_section(runs, heads)
    adapter = extraction_section([run.meta.get("extraction") for run in runs], heads)
    sections = {
        **({"findings": tr("Findings")} if findings else {}),
        "model": tr("Model"),
        **({EXTRACTION: tr("Adapter")} if adapter else {}),
        **panels,
        "table": tr("Table"),
        **{key: translated(SIDES[key].title) for key in sides},
        "run": tr("Run"),
    }
    samples = [sample_line(run.meta.get("sample")) for run in runs]
    tables = {key: [run["tables"].get(key) for run in payload["runs"]] for key in sides}
    return filled_page(
        payload,
        SCRIPTS,
        title=", ".join(heads),
        subtitle=_subtitle(data) if len(runs) == 1 else "",
        sections=sections,
        **_headings(runs),
        findings=findings,
        panels=adapter
        + "".join(
            Template(part(f"panel_{key}.html")).substitute(_panel_texts(runs, panels))
            for key in panels
        ),
        grid=grid("params" if len(runs) == 1 else "pairs", "table"),
        sides="".join(side_section(SIDES[key], tables[key], heads, samples) for key in sides),
        model_facts=_facts(tr("Model"), list(map(_model_facts, runs)), heads),
        run=_run(runs, heads),
    )


def _panels(payloads: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Panels that the runs have something for, with their names in the menu."""
    maps = {"maps": tr("Maps")} if any(run["tables"]["params"]["map"] for run in payloads) else {}
    if payloads[0]["compare"]:
        return {**maps, "spectra": tr("Tensor"), "outliers": tr("Outliers")}
    shared = {"spectra": tr("Spectrum"), "outliers": tr("Outliers")}
    return {**maps, **shared, "quantization": tr("Quantization")}


def _headings(runs: Sequence[RunData]) -> dict[str, str]:
    headings = {
        "heading": tr("What is compared") if runs[0].is_compare else tr("The model"),
        "table_heading": tr("All rows"),
        "run_heading": tr("The run"),
    }
    if len(runs) > 1:
        headings |= {
            "heading": tr("The two models"),
            "table_heading": tr("All rows, side by side"),
            "run_heading": tr("The two runs"),
        }
    return {name: html_text(text) for name, text in headings.items()}


def _panel_texts(runs: Sequence[RunData], panels: Mapping[str, str]) -> dict[str, str]:
    heading = tr("What changed where") if runs[0].is_compare else tr("Over the layers")
    marks = [""] if len(runs) == 1 else ["A: ", "B: "]
    texts = [(sample_note(run.meta), unreliable_fits(run.frame)) for run in runs]
    fits = [mark + text for mark, notes in zip(marks, texts, strict=True) for text in notes if text]
    return {
        "map_heading": html_text(heading),
        "spectra_heading": html_text(panels["spectra"]),
        "rule": html_text(" ".join([rule_text(), *fits])),
    }


def _model_facts(run: RunData) -> Facts:
    summary = {} if run.summary is None else summary_facts(run.summary)
    return {**model_facts(run), **summary}


def _facts(name: str, facts: Sequence[Mapping[str, str]], heads: Sequence[str]) -> str:
    return fact_list(facts[0]) if len(facts) == 1 else fact_table(name, facts, heads)


def _run(runs: Sequence[RunData], heads: Sequence[str]) -> str:
    """Checks, cost, settings and machine of the runs."""
    facts = list(map(run_facts, runs))
    if len(runs) == 1:
        return (
            validation(runs[0].meta.get("validation"))
            + cost_table(runs[0].meta)
            + fact_list(facts[0])
        )
    own = "".join(
        f"<h3>{html_text(head)}</h3>{validation(run.meta.get('validation'))}"
        + cost_table(run.meta, letter)
        for letter, head, run in zip("AB", heads, runs, strict=True)
    )
    for of in facts:
        # Each setting has a line of its own below.
        of.pop("settings", None)
    settings = fact_table(tr("Settings"), list(map(_settings, runs)), heads)
    rest = fact_table(tr("Run"), facts, heads)
    return (
        f"<h3>{html_text(tr('Settings'))}</h3>{settings}<h3>{html_text(tr('Run'))}</h3>{rest}{own}"
    )


def _settings(run: RunData) -> dict[str, str]:
    found = run.meta.get("configuration")
    known = found if isinstance(found, Mapping) else {}
    return {str(n): "" if v in (None, [], ()) else str(v) for n, v in known.items()}


def _subtitle(run: RunData) -> str:
    facts = model_facts(run)
    parameters = [f"{facts['parameters']} parameters"] if "parameters" in facts else []
    named = ", ".join(parameters + [facts[key] for key in ("format", "revision") if key in facts])
    sample = sample_head(run.meta.get("sample"))
    return tr("{named}; a sample: {sample}", named=named, sample=sample) if sample else named

"""The page of a mixture of experts: maps, pairs of experts, a routed text, and words."""

from __future__ import annotations

from mlx_probe.core.language import tr
from mlx_probe.report.facts import model_facts, run_facts
from mlx_probe.report.html.frame import filled_page
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.html.mixture_payload import mixture_payload
from mlx_probe.report.html.sections import (
    cost_table,
    fact_list,
    grid,
    sentence_section,
    validation,
)
from mlx_probe.report.mixture_data import MixtureData
from mlx_probe.report.mixture_summary import mixture_sentences
from mlx_probe.report.run_data import RunData
from mlx_probe.runs.mixture.folder import EXPERTS

__all__ = ["SCRIPTS", "mixture_html"]

SCRIPTS = (
    *("text", "data", "address", "theme", "tips", "save", "cells", "map", "map_panel", "rows"),
    *("grid", "mixture_choice", "mixture_matrix", "mixture_graph", "curve_panel", "tokens"),
    *("mixture_layer", "mixture_routing", "mixture_main"),
)


def mixture_html(data: MixtureData) -> str:
    """A run of `moe stats` as one HTML page that loads nothing; see `report_html`."""
    payload = mixture_payload(data)
    mixture = payload["mixture"]
    run = RunData(data.experts, data.columns[EXPERTS], data.meta)
    panels = {
        "maps": tr("Maps"),
        "layers": tr("Layers"),
        "layer": tr("One layer"),
        **({"routing": tr("Routed text")} if mixture["routing"] else {}),
    }
    sections = {
        "summary": tr("Summary"),
        "model": tr("Model"),
        **panels,
        "table": tr("Experts"),
        "layer-rows": tr("Rows of layers"),
        "run": tr("Run"),
    }
    return filled_page(
        payload,
        SCRIPTS,
        title=data.name,
        subtitle=tr(
            "mixture of experts, {layers} layers of {experts}",
            layers=len(mixture["layers"]),
            experts=mixture["experts"],
        ),
        sections=sections,
        findings=sentence_section(mixture_sentences(data)),
        heading=html_text(tr("The model")),
        model_facts=fact_list(model_facts(run)),
        panels="".join(_panel(key) for key in panels),
        table_heading=html_text(tr("All experts")),
        grid=grid("experts", "table"),
        sides=_layer_rows(),
        run_heading=html_text(tr("The run")),
        run=validation(data.meta.get("validation"))
        + cost_table(data.meta)
        + fact_list(run_facts(run)),
    )


def _panel(key: str) -> str:
    headings = {
        "maps": tr("Experts over the layers"),
        "layers": tr("Over the layers"),
        "layer": tr("One layer"),
        "routing": tr("A text, token by token"),
    }
    kind = 'class="card wide map" data-table="experts" data-key="maps"'
    attributes = kind if key == "maps" else 'class="card wide"'
    return f'<section id="{key}" {attributes}><h2>{html_text(headings[key])}</h2></section>'


def _layer_rows() -> str:
    heading = html_text(tr("All layers"))
    return (
        f'<section id="layer-rows" class="card wide"><h2>{heading}</h2>'
        f"{grid('layers', 'layer-rows')}</section>"
    )

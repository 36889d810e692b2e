"""The page of a graft: its damage curve, what it is, and words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.report.graft_receipt import COLUMNS, damage_frame, graft_facts, graft_sentences
from mlx_probe.report.html.encoding import encode_frame
from mlx_probe.report.html.frame import filled_page
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.html.sections import fact_list, grid, sentence_section

__all__ = ["SCRIPTS", "graft_html"]

SCRIPTS = ("text", "data", "address", "theme", "tips", "save", "rows", "grid", "damage")


def graft_html(receipt: Mapping[str, Any], name: str) -> str:
    """A graft as one HTML page that loads nothing; see `report_html`.

    Args:
        receipt: From `read_graft`.
        name: Of the folder.
    """
    frame = damage_frame(receipt)
    table = {
        "rows": len(frame),
        "columns": encode_frame(frame, COLUMNS),
        "shown": list(frame.columns),
        "map": None,
    }
    run = {"name": name, "compare": False, "tables": {"damage": table}, "groups": []}
    payload = {
        "runs": [{**run, "group_names": [], "outliers": [], "spectra": None, "quantization": []}],
        "pairs": None,
        "loss_before": receipt.get("loss_before"),
    }
    drawn = {"damage": tr("Damage")} if len(frame) else {}
    sections = {
        "summary": tr("Summary"),
        "model": tr("Graft"),
        **drawn,
        "table": tr("Table"),
        "run": tr("Files"),
    }
    heading = html_text(tr("Loss with fewer experts"))
    return filled_page(
        payload,
        SCRIPTS,
        title=name,
        subtitle=tr("{model} as a mixture of experts", model=receipt["model"]),
        sections=sections,
        findings=sentence_section(graft_sentences(receipt)),
        heading=html_text(tr("The graft")),
        model_facts=fact_list(graft_facts(receipt)),
        panels=f'<section id="damage" class="card wide"><h2>{heading}</h2></section>'
        if drawn
        else "",
        table_heading=html_text(tr("All numbers of experts")),
        grid=grid("damage", "table"),
        sides="",
        run_heading=html_text(tr("Files with weights")),
        run=fact_list({tr("files"): ", ".join(receipt.get("files", ()))}),
    )

"""An adapter that was extracted from a difference, as a section of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.report.extraction import (
    adapter_heads,
    adapter_lines,
    changed_text,
    direction_heads,
    direction_lines,
    head_text,
    notes,
    token_notes,
)
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.html.sections import number_table

__all__ = ["EXTRACTION", "extraction_section"]

# The section's name in the page.
EXTRACTION = "adapter"


def extraction_section(found: Sequence[object], heads: Sequence[str]) -> str:
    """Error and rank of the adapters, and the tokens that they read and write.

    Args:
        found: The metadata's key "extraction" of each run.
        heads: The name of each run.

    Returns:
        "" where no run extracted an adapter.
    """
    parts = [
        (f"<h3>{html_text(head)}</h3>" if len(heads) > 1 else "") + _one(each)
        for each, head in zip(found, heads, strict=True)
        if isinstance(each, Mapping)
    ]
    if not parts:
        return ""
    heading = f"<h2>{html_text(tr('The adapter'))}</h2>"
    return f'<section id="{EXTRACTION}" class="card wide">{heading}{"".join(parts)}</section>'


def _one(extraction: Mapping[str, Any]) -> str:
    said = extraction["tokens"]
    lines = [f"<p>{html_text(head_text(extraction))}</p>"]
    lines.append(number_table(tr("The adapter"), adapter_heads(), adapter_lines(extraction)))
    lines += [f'<p class="note">{html_text(note)}</p>' for note in notes(extraction)]
    if directions := direction_lines(said):
        name = tr("tokens along the difference")
        lines.append(number_table(name, direction_heads(), directions))
    if changed := changed_text(said):
        lines.append(f"<p>{html_text(changed)}</p>")
    lines += [f'<p class="note">{html_text(note)}</p>' for note in token_notes(said)]
    return "".join(lines)

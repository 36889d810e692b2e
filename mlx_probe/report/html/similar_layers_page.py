"""The page of a comparison of layers: what was found, maps of all pairs, and block influence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.html.plain_page import page_section, plain_page
from mlx_probe.report.html.sections import fact_list, number_table
from mlx_probe.report.terminal.similar_layers import influence_rows, verdict

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.group import Group
    from mlx_probe.analysis.similar_layers.result import SimilarLayers

__all__ = ["similar_html"]

# Pixels of a cell at least, and of a map at most.
_CELL, _MAP, _EDGE = 7, 640, 34
# Cosines below that are drawn as nothing.
_LEAST = 0.02
# Height of the bars, and the width of one at most.
_BARS, _BAR = 160, 24
_STYLE = """
.similar svg { display: block; max-width: 100%; height: auto; font-size: 11px; }
.similar svg text { fill: var(--muted); }
.similar .back { fill: var(--plot); stroke: var(--edge); }
.similar .cell { fill: var(--accent); }
.similar .error { stroke: var(--ink); }
.maps { display: flex; flex-wrap: wrap; gap: 1.5rem; }
"""


def similar_html(result: SimilarLayers, activations: Mapping[str, Any] | None = None) -> str:
    """The result as one HTML page that loads and runs nothing.

    Args:
        result: What was compared.
        activations: `BlockInfluence.as_json`; None where nothing was run.
    """
    names = result.names.models
    items = "".join(f"<li>{html_text(each.sentence.shown)}</li>" for each in result.findings)
    if activations is None:
        items += f"<li>{html_text(weights_do_not_say())}</li>"
    words = f'<p>{html_text(verdict(result))}</p><ul class="findings">{items}</ul>'
    maps = "".join(_map(result, model) for model in range(len(names)))
    content = page_section(tr("In words"), words)
    note = tr(
        "Mean cosine of the matrices of two layers; the darker, the more alike. The mouse shows "
        "the numbers. Copies are compared in the order that makes them alike."
    )
    content += page_section(
        tr("Map of the layers"),
        f'<p class="note">{html_text(note)}</p><div class="similar maps">{maps}</div>',
    )
    if activations is not None:
        content += page_section(tr("Block influence"), _influence(activations))
    content += page_section(tr("Chance"), _chance(result.groups))
    facts = {
        tr("layers"): str(len(result.blocks)),
        **{name: str(value) for name, value in vars(result.config).items()},
    }
    for each in result.unread:
        facts[f"{each.name} {each.place.layer}"] = translated(each.reason)
    content += page_section(tr("How it was compared"), fact_list(facts))
    subtitle = ", ".join(names[1:]) if len(names) > 1 else tr("layers compared with each other")
    return plain_page(names[0], subtitle, content, _STYLE)


def weights_do_not_say() -> str:
    """What no comparison of weights can tell."""
    return tr(
        "Weights do not say whether a layer may be removed: that needs activations. "
        "--with-activations measures them on a text."
    )


def _map(result: SimilarLayers, model: int) -> str:
    values = result.map_of(model)
    rows = [place.layer for place in result.blocks]
    columns = [place.layer for place in result.places_of(model)]
    size = max(_CELL, min(18, _MAP // max(len(columns), 1)))
    width, height = size * len(columns), size * len(rows)
    parts = [f'<rect class="back" x="{_EDGE}" y="{_EDGE}" width="{width}" height="{height}"/>']
    parts += _cells(values, rows, columns, size)
    every = max(1, -(-14 // size))
    parts += (
        _text(_EDGE + (at + 0.5) * size, _EDGE - 6, number, "middle")
        for at, number in enumerate(columns)
        if at % every == 0
    )
    parts += (
        _text(_EDGE - 5, _EDGE + (at + 0.5) * size + 4, number, "end")
        for at, number in enumerate(rows)
        if at % every == 0
    )
    name = result.names.models[model]
    title = tr("layers of {model} across", model=name)
    return (
        f"<figure><figcaption>{html_text(title)}</figcaption>"
        f'<svg role="img" aria-label="{html_text(title)}" width="{width + _EDGE + 8}" '
        f'viewBox="0 0 {width + _EDGE + 8} {height + _EDGE + 8}">{"".join(parts)}</svg></figure>'
    )


def _cells(
    values: NDArray[np.float64], rows: Sequence[int], columns: Sequence[int], size: int
) -> list[str]:
    cells = []
    for at, row in enumerate(rows):
        for across, column in enumerate(columns):
            value = values[at, across]
            if np.isfinite(value) and value >= _LEAST:
                cells.append(
                    f'<rect class="cell" x="{_EDGE + across * size}" y="{_EDGE + at * size}" '
                    f'width="{size}" height="{size}" fill-opacity="{min(value, 1):.2f}">'
                    f"<title>{row} - {column}: {value:.4f}</title></rect>"
                )
    return cells


def _influence(activations: Mapping[str, Any]) -> str:
    layers = activations["influence"]
    most = max(each["influence"] + (each["error"] or 0) for each in layers) or 1.0
    step = min(_BAR, max(8, _MAP // len(layers)))
    bars = []
    for at, each in enumerate(layers):
        x, height = _EDGE + at * step, _BARS * max(each["influence"], 0) / most
        bars.append(
            f'<rect class="cell" x="{x}" y="{_BARS - height + 10:.1f}" width="{step - 2}" '
            f'height="{height:.1f}"><title>{each["layer"]}: {each["influence"]:.4f}</title></rect>'
        )
        if each["error"]:
            top, low = (
                _BARS * (1 - (each["influence"] + sign * each["error"]) / most) + 10
                for sign in (1, -1)
            )
            middle = x + step / 2 - 1
            bars.append(
                f'<line class="error" x1="{middle}" x2="{middle}" y1="{top:.1f}" y2="{low:.1f}"/>'
            )
        if at % max(1, -(-16 // step)) == 0:
            bars.append(_text(x + step / 2 - 1, _BARS + 26, each["layer"], "middle"))
    bars.append(_text(_EDGE - 5, 18, f"{most:.2f}", "end"))
    width = _EDGE + step * len(layers) + 8
    label = tr("Block influence of each layer, with 95 % intervals over windows of the text")
    head, *lines = influence_rows(activations)
    return (
        f'<div class="similar"><p class="note">{html_text(label)}</p><svg role="img" '
        f'aria-label="{html_text(label)}" width="{width}" viewBox="0 0 {width} {_BARS + 34}">'
        f"{''.join(bars)}</svg></div>{number_table(tr('Block influence'), head, lines)}"
    )


def _chance(groups: Sequence[Group]) -> str:
    note = tr(
        "Cosines of matrices whose rows do not belong together, measured in these models. A copy "
        "must reach the threshold in every matrix."
    )
    heads = (
        *(tr("matrix"), tr("layers"), tr("median"), tr("spread"), tr("largest")),
        *(tr("threshold"), tr("comparisons")),
    )
    rows = [
        (
            f"{group.name} {role}",
            *(str(group.own), f"{each.center:.4f}", f"{each.spread:.4f}"),
            *(f"{each.largest:.4f}", f"{each.threshold:.3f}", f"{each.comparisons:,}"),
        )
        for group in groups
        for role, each in group.chance.items()
    ]
    return f'<p class="note">{html_text(note)}</p>{number_table(tr("Chance"), heads, rows)}'


def _text(x: float, y: float, text: object, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html_text(text)}</text>'

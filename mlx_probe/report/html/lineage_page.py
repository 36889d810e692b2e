"""The page of lineage: which run came from what, drawn in layers. It has no scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.library.experiments.lineage import Lineage, Node
from mlx_probe.report.html.layered import layered
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.html.plain_page import page_section, plain_page
from mlx_probe.report.html.sections import fact_list, head_cells, table, text_row
from mlx_probe.report.terminal.wrapping import cells

__all__ = ["MOST_NODES", "lineage_html"]

# Boxes that a reader can follow; with more, a run or a model is to be named.
MOST_NODES = 400
# Pixels.
_WIDTH, _HEIGHT, _BETWEEN, _ABOVE, _EDGE, _BELOW = 210, 46, 70, 16, 12, 40
# Cells of a text in a box.
_ROOM = 28
_STYLE = """
.lineage { overflow: auto; max-height: 80vh; }
.lineage svg { display: block; font-size: 12px; }
.lineage rect { fill: var(--plot); stroke: var(--edge); }
.lineage .run rect { fill: var(--hover); stroke: var(--accent); }
.lineage .data rect { stroke-dasharray: 5 3; }
.lineage .gone rect { stroke: var(--bad); }
.lineage .chosen rect { stroke-width: 2.5; }
.lineage text { fill: var(--ink); }
.lineage text + text { fill: var(--muted); font-size: 11px; }
.lineage .gone text + text { fill: var(--bad); }
.lineage path { fill: none; stroke: var(--edge); }
.lineage marker path { fill: var(--edge); stroke: none; }
"""


def lineage_html(lineage: Lineage, chosen: Sequence[str] = (), about: str = "") -> str:
    """The graph as one HTML page that loads and runs nothing.

    Args:
        lineage: What to draw.
        chosen: Keys of the nodes that the page is about.
        about: What they are called; "" for all runs.
    """
    nodes = lineage.nodes
    runs = [node for node in nodes.values() if node.run is not None]
    facts = {
        tr("runs"): str(len(runs)),
        tr("models and data"): str(len(nodes) - len(runs)),
    }
    title = tr("Lineage")
    if not nodes:
        drawn = f'<p class="note">{html_text(tr("Nothing is known."))}</p>'
    elif len(nodes) > MOST_NODES:
        text = tr("More than {most} boxes: name a run or a model to see its own.", most=MOST_NODES)
        drawn = f'<p class="note">{html_text(text)}</p>'
    else:
        note = tr(
            "From left to right: what was read, the run, what it wrote. Runs are blue; dashed "
            "boxes are data; red ones are gone. The mouse shows paths."
        )
        drawn = f'<p class="note">{html_text(note)}</p>{_svg(lineage, chosen)}'
    sections = page_section(title, fact_list(facts) + drawn)
    if runs:
        sections += page_section(tr("Runs"), _table(lineage, runs))
    return plain_page(title, about or tr("all runs"), sections, _STYLE)


def _svg(lineage: Lineage, chosen: Sequence[str]) -> str:
    roles = {(edge.source, edge.target): edge.role for edge in lineage.edges}
    layout = layered(list(lineage.nodes), list(roles))
    corners = {key: _corner(*place) for key, place in layout.places.items()}
    passed = [_corner(*place) for route in layout.routes.values() for place in route]
    every = [*corners.values(), *passed]
    width = max(x for x, _ in every) + _WIDTH + _EDGE
    height = max(y for _, y in every) + _HEIGHT + _EDGE + (_BELOW if layout.back else 0)
    lines = [_line([_corner(*p) for p in route], roles[e]) for e, route in layout.routes.items()]
    lines += [_back(corners[edge[0]], corners[edge[1]], roles[edge]) for edge in layout.back]
    boxes = [_box(node, corners[key], key in chosen) for key, node in lineage.nodes.items()]
    label = html_text(tr("Which run came from what"))
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>'
    )
    return (
        f'<div class="lineage" tabindex="0" role="region" aria-label="{label}">'
        f'<svg role="img" aria-label="{label}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{arrow}{"".join(lines)}{"".join(boxes)}</svg></div>'
    )


def _corner(layer: int, at: int) -> tuple[int, int]:
    return _EDGE + layer * (_WIDTH + _BETWEEN), _EDGE + at * (_HEIGHT + _ABOVE)


def _line(corners: Sequence[tuple[int, int]], role: str) -> str:
    """A curve from the right of the first box to the left of the last, through places between."""
    middle = _HEIGHT // 2
    x, y = corners[0][0] + _WIDTH, corners[0][1] + middle
    parts = [f"M{x},{y}"]
    for at, (to_x, corner_y) in enumerate(corners[1:], start=2):
        to_y = corner_y + middle
        parts.append(f"C{x + _BETWEEN // 2},{y} {to_x - _BETWEEN // 2},{to_y} {to_x},{to_y}")
        x, y = to_x, to_y
        if at < len(corners):
            x += _WIDTH
            parts.append(f"H{x}")
    return _path(" ".join(parts), role)


def _back(source: tuple[int, int], target: tuple[int, int], role: str) -> str:
    """An edge of a circle: below the boxes, back to the left."""
    half = _WIDTH // 2
    (x, y), (to_x, to_y) = source, target
    y, to_y = y + _HEIGHT, to_y + _HEIGHT
    low = max(y, to_y) + _BELOW
    return _path(
        f"M{x + half},{y} C{x + half},{low} {to_x + half},{low} {to_x + half},{to_y}", role
    )


def _path(curve: str, role: str) -> str:
    return f'<path d="{curve}" marker-end="url(#arrow)"><title>{html_text(role)}</title></path>'


def _box(node: Node, corner: tuple[int, int], is_chosen: bool) -> str:
    x, y = corner
    kinds = [node.kind, *(["gone"] if node.gone else []), *(["chosen"] if is_chosen else [])]
    title = "\n".join(dict.fromkeys((node.label, *node.names, *node.paths)))
    return (
        f'<g class="{" ".join(kinds)}"><title>{html_text(title)}</title>'
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="7"/>'
        f'<text x="{x + 10}" y="{y + 19}">{html_text(_cut(node.label))}</text>'
        f'<text x="{x + 10}" y="{y + 36}">{html_text(_cut(_about(node)))}</text></g>'
    )


def _about(node: Node) -> str:
    """What stands below a node's name."""
    if node.run is None:
        what = tr("data") if node.kind == "data" else tr("model")
        return tr("{what}, gone", what=what) if node.gone else what
    state = tr("gone") if node.gone else translated(node.run.state)
    code = str(node.run.facts.get("code", ""))[:8]
    return ", ".join(filter(None, (node.run.kind, state, code)))


def _cut(text: str) -> str:
    """A text that has room in a box; of a path its end says most."""
    if cells(text) <= _ROOM:
        return text
    while cells(text) > _ROOM - 1:
        text = text[1:]
    return f"…{text}"


def _table(lineage: Lineage, runs: Sequence[Node]) -> str:
    heads = (tr("run"), tr("kind"), tr("made"), tr("came from"), tr("wrote"), tr("code"))
    rows = []
    for node in runs:
        run = node.run
        assert run is not None
        given = [
            f"{edge.role}: {lineage.nodes[edge.source].label}" for edge in lineage.sources[node.key]
        ]
        written = [lineage.nodes[edge.target].label for edge in lineage.targets[node.key]]
        facts: Mapping[str, str] = {
            "code": str(run.facts.get("code", ""))[:12] or str(run.facts.get("version", ""))
        }
        texts = (run.kind, run.created_at[:10], "; ".join(given), "; ".join(written), facts["code"])
        rows.append(text_row(f"{node.label} ({run.id[:8]})", texts))
    return table(tr("Runs"), head_cells(heads), rows)

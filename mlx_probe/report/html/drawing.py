"""A graph drawn as boxes and curves from left to right, without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_probe.report.html.layered import layered
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.terminal.wrapping import cells

__all__ = ["STYLE", "Arrow", "Box", "drawing"]

# Pixels.
_WIDTH, _HEIGHT, _BETWEEN, _ABOVE, _EDGE, _BELOW = 210, 46, 70, 16, 12, 40
# Cells of a text in a box.
_ROOM = 28
STYLE = """
.lineage { overflow: auto; max-height: 80vh; }
.lineage svg { display: block; font-size: 12px; }
.lineage rect { fill: var(--plot); stroke: var(--edge); }
.lineage .run rect, .lineage .root rect { fill: var(--hover); stroke: var(--accent); }
.lineage .data rect { stroke-dasharray: 5 3; }
.lineage .gone rect { stroke: var(--bad); }
.lineage .chosen rect { stroke-width: 2.5; }
.lineage text { fill: var(--ink); }
.lineage text + text { fill: var(--muted); font-size: 11px; }
.lineage .gone text + text { fill: var(--bad); }
.lineage path { fill: none; stroke: var(--edge); }
.lineage path.loose { stroke-dasharray: 4 4; }
.lineage marker path { fill: var(--edge); stroke: none; }
"""


@dataclass(frozen=True)
class Box:
    """A node.

    Attributes:
        key: Its name in the graph.
        kinds: CSS classes.
        name: First line; of a long one the end is shown, which says most of a path.
        about: Second line.
        title: What the mouse shows.
    """

    key: str
    kinds: tuple[str, ...]
    name: str
    about: str
    title: str


@dataclass(frozen=True)
class Arrow:
    """An edge.

    Attributes:
        source: Key of a box.
        target: Key of a box.
        label: What the mouse shows.
        is_loose: Whether its direction is not known: dashed, without a head.
    """

    source: str
    target: str
    label: str
    is_loose: bool = False


def drawing(boxes: Sequence[Box], arrows: Sequence[Arrow], label: str) -> str:
    """The graph as HTML; it scrolls inside itself, by the keyboard too.

    Args:
        boxes: At least one.
        arrows: Between them.
        label: What it shows, for screen readers.
    """
    known = {(arrow.source, arrow.target): arrow for arrow in arrows}
    layout = layered([box.key for box in boxes], list(known))
    corners = {key: _corner(*place) for key, place in layout.places.items()}
    passed = [_corner(*place) for route in layout.routes.values() for place in route]
    every = [*corners.values(), *passed]
    width = max(x for x, _ in every) + _WIDTH + _EDGE
    height = max(y for _, y in every) + _HEIGHT + _EDGE + (_BELOW if layout.back else 0)
    lines = [_line([_corner(*p) for p in route], known[e]) for e, route in layout.routes.items()]
    lines += [_back(corners[edge[0]], corners[edge[1]], known[edge]) for edge in layout.back]
    drawn = [_box(box, corners[box.key]) for box in boxes]
    label = html_text(label)
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>'
    )
    return (
        f'<div class="lineage" tabindex="0" role="region" aria-label="{label}">'
        f'<svg role="img" aria-label="{label}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{arrow}{"".join(lines)}{"".join(drawn)}</svg></div>'
    )


def _corner(layer: int, at: int) -> tuple[int, int]:
    return _EDGE + layer * (_WIDTH + _BETWEEN), _EDGE + at * (_HEIGHT + _ABOVE)


def _line(corners: Sequence[tuple[int, int]], arrow: Arrow) -> str:
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
    return _path(" ".join(parts), arrow)


def _back(source: tuple[int, int], target: tuple[int, int], arrow: Arrow) -> str:
    """An edge of a circle: below the boxes, back to the left."""
    half = _WIDTH // 2
    (x, y), (to_x, to_y) = source, target
    y, to_y = y + _HEIGHT, to_y + _HEIGHT
    low = max(y, to_y) + _BELOW
    return _path(
        f"M{x + half},{y} C{x + half},{low} {to_x + half},{low} {to_x + half},{to_y}", arrow
    )


def _path(curve: str, arrow: Arrow) -> str:
    style = ' class="loose"' if arrow.is_loose else ' marker-end="url(#arrow)"'
    return f'<path d="{curve}"{style}><title>{html_text(arrow.label)}</title></path>'


def _box(box: Box, corner: tuple[int, int]) -> str:
    x, y = corner
    return (
        f'<g class="{" ".join(box.kinds)}"><title>{html_text(box.title)}</title>'
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="7"/>'
        f'<text x="{x + 10}" y="{y + 19}">{html_text(_cut(box.name))}</text>'
        f'<text x="{x + 10}" y="{y + 36}">{html_text(_cut(box.about))}</text></g>'
    )


def _cut(text: str) -> str:
    """A text that has room in a box; of a path its end says most."""
    if cells(text) <= _ROOM:
        return text
    while cells(text) > _ROOM - 1:
        text = text[1:]
    return f"…{text}"

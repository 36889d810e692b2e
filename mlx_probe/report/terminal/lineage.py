"""Which run came from what, as a tree of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.tree import Tree

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.library.experiments.lineage import Edge, Lineage, Node
from mlx_probe.report.terminal.experiments import SHORT_ID
from mlx_probe.report.terminal.plain import one_line

__all__ = ["lineage_text", "node_text"]

# Lines of all trees together; the page and --json have the rest.
_MOST = 400
_LONGEST = 80


def lineage_text(lineage: Lineage, chosen: Sequence[str]) -> RenderableType:
    """What some nodes came from and what came from them; without any, everything from its roots.

    Args:
        lineage: The graph.
        chosen: Keys of nodes.
    """
    if not lineage.nodes:
        return escape(tr("No runs are known: run `mlx-probe runs scan FOLDER`"))
    parts: list[RenderableType] = []
    if chosen:
        ways = (
            (lineage.sources, tr("What it came from:"), _came_from),
            (lineage.targets, tr("What came from it:"), _led_to),
        )
        for key in chosen:
            known = [(title, way) for edges, title, way in ways if edges[key]]
            for title, way in known:
                parts += [escape(title), _tree(lineage, key, way)]
            if not known:
                parts.append(node_text(lineage.nodes[key]))
        return Group(*parts)
    roots = [key for key in lineage.nodes if not lineage.sources[key]]
    # Nodes of a circle have no root.
    reached = set(_reachable(lineage, roots))
    roots += _of_circles(lineage, [key for key in lineage.nodes if key not in reached])
    drawn, left = _Drawn(), 0
    for root in roots:
        if len(drawn.seen) >= _MOST:
            left += 1
            continue
        parts.append(_tree(lineage, root, _led_to, drawn))
    if left:
        parts.append(escape(tr("and {count} more: name a run or a model", count=left)))
    return Group(*parts)


def node_text(node: Node, role: str = "") -> str:
    """A node as one line, as markup."""
    label = node.label if len(node.label) <= _LONGEST else f"{node.label[:_LONGEST]}..."
    text = escape(one_line(label))
    if node.run is not None:
        facts = [node.run.id[:SHORT_ID], node.run.kind]
        code = str(node.run.facts.get("code", ""))
        if code:
            facts.append(tr("code {commit}", commit=code[:12]))
        if node.run.state != "finished":
            facts.append(translated(node.run.state))
        text = f"[bold]{text}[/] ({escape(', '.join(facts))})"
    if role and role != "wrote":
        text = f"{escape(role)}: {text}"
    return f"{text} [red]{escape(tr('gone'))}[/]" if node.gone else text


_Way = Callable[[Lineage, str], Iterable[tuple[Edge, str]]]


def _came_from(lineage: Lineage, key: str) -> Iterable[tuple[Edge, str]]:
    return ((edge, edge.source) for edge in lineage.sources[key])


def _led_to(lineage: Lineage, key: str) -> Iterable[tuple[Edge, str]]:
    return ((edge, edge.target) for edge in lineage.targets[key])


class _Drawn:
    """The nodes whose branches are drawn already: a graph is no tree."""

    def __init__(self) -> None:
        self.seen: set[str] = set()


def _tree(lineage: Lineage, root: str, way: _Way, drawn: _Drawn | None = None) -> Tree:
    drawn = drawn or _Drawn()
    top = Tree(node_text(lineage.nodes[root]), guide_style="dim")
    waiting = [(top, root)]
    drawn.seen.add(root)
    while waiting:
        branch, key = waiting.pop()
        for edge, other in way(lineage, key):
            text = node_text(lineage.nodes[other], edge.role)
            if other in drawn.seen or len(drawn.seen) >= _MOST:
                # Also where the graph has a circle.
                further = any(True for _ in way(lineage, other))
                branch.add(f"{text} [dim]{escape(tr('(see there)'))}[/]" if further else text)
                continue
            drawn.seen.add(other)
            waiting.append((branch.add(text), other))
    return top


def _reachable(lineage: Lineage, keys: Iterable[str]) -> Iterable[str]:
    waiting, seen = list(keys), set(keys)
    while waiting:
        key = waiting.pop()
        yield key
        for edge in lineage.targets[key]:
            if edge.target not in seen:
                seen.add(edge.target)
                waiting.append(edge.target)


def _of_circles(lineage: Lineage, keys: Sequence[str]) -> list[str]:
    """One node of each part that no root leads to."""
    chosen, seen = list[str](), set[str]()
    for key in keys:
        if key not in seen:
            chosen.append(key)
            seen |= set(_reachable(lineage, [key]))
    return chosen

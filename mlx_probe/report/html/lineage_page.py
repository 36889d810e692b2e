"""The page of lineage: which run came from what, drawn in layers. It has no scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.library.experiments.lineage import Lineage, Node
from mlx_probe.report.html.drawing import STYLE, Arrow, Box, drawing
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.html.plain_page import page_section, plain_page
from mlx_probe.report.html.sections import fact_list, head_cells, table, text_row

__all__ = ["MOST_NODES", "lineage_html"]

# Boxes that a reader can follow; with more, a run or a model is to be named.
MOST_NODES = 400


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
    return plain_page(title, about or tr("all runs"), sections, STYLE)


def _svg(lineage: Lineage, chosen: Sequence[str]) -> str:
    arrows = [Arrow(edge.source, edge.target, edge.role) for edge in lineage.edges]
    boxes = [_box(node, key in chosen) for key, node in lineage.nodes.items()]
    return drawing(boxes, arrows, tr("Which run came from what"))


def _box(node: Node, is_chosen: bool) -> Box:
    kinds = (node.kind, *(["gone"] if node.gone else []), *(["chosen"] if is_chosen else []))
    title = "\n".join(dict.fromkeys((node.label, *node.names, *node.paths)))
    return Box(node.key, kinds, node.label, _about(node), title)


def _about(node: Node) -> str:
    """What stands below a node's name."""
    if node.run is None:
        what = tr("data") if node.kind == "data" else tr("model")
        return tr("{what}, gone", what=what) if node.gone else what
    state = tr("gone") if node.gone else translated(node.run.state)
    code = str(node.run.facts.get("code", ""))[:8]
    return ", ".join(filter(None, (node.run.kind, state, code)))


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

"""The page of `mlx-probe lineage`: trees of models, merges with their weights, every pair."""

from __future__ import annotations

from mlx_probe.analysis.lineage.family_records import Descent, Family, Tree
from mlx_probe.analysis.lineage.merge_records import MergeWeights
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.html.drawing import STYLE, Arrow, Box, drawing
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.html.plain_page import page_section, plain_page
from mlx_probe.report.html.sections import (
    fact_list,
    head_cells,
    number_table,
    table,
    text_row,
)
from mlx_probe.report.terminal.family import (
    descent_text,
    group_rows,
    member_facts,
    merge_text,
)
from mlx_probe.report.terminal.relation import percent

__all__ = ["family_html"]

# Boxes that a reader can follow, and pairs that a browser shows at once.
_MOST_BOXES, _MOST_PAIRS = 400, 5000


def family_html(family: Family) -> str:
    """A page that loads and runs nothing.

    Args:
        family: By `family_of`.
    """
    facts = {
        tr("models"): str(len(family.members)),
        tr("pairs"): str(len(family.relations)),
        tr("related pairs"): str(sum(r.relation != "unrelated" for r in family.relations)),
        tr("merges"): str(len(family.merges)),
    }
    title = tr("Family of models")
    sections = page_section(title, fact_list(facts) + _drawn(family))
    for merge in family.merges:
        sections += page_section(tr("Merge: {child}", child=merge.child), _merge(merge))
    sections += page_section(tr("Pairs"), _pairs(family))
    if family.left_out:
        rows = [text_row(name, [translated(why)]) for name, why in family.left_out.items()]
        heads = head_cells((tr("model"), tr("reason")))
        sections += page_section(tr("Left out"), table(tr("Left out"), heads, rows))
    names = ", ".join(member.name for member in family.members[:6])
    more = len(family.members) - 6
    about = tr("{names} and {count} more", names=names, count=more) if more > 0 else names
    return plain_page(title, about, sections, STYLE)


def _drawn(family: Family) -> str:
    if len(family.members) > _MOST_BOXES:
        text = tr("More than {most} models: the table below has every pair.", most=_MOST_BOXES)
        return f'<p class="note">{html_text(text)}</p>'
    note = tr(
        "From left to right: what comes from what. Blue models come from none of the others. "
        "Dashed lines: the two are nearest of kin, and which one was first is not told by weights; "
        "the drawing begins at the model that is nearest to all others. The mouse shows the "
        "relation and its probability."
    )
    parts = [f'<p class="note">{html_text(note)}</p>']
    for tree in family.trees:
        if len(tree.members) > 1:
            boxes = [_box(family, tree, name) for name in tree.members]
            arrows = [Arrow(e.parent, e.child, _label(e), not e.directed) for e in tree.edges]
            label = tr("Models that are related to {name}", name=tree.members[0])
            parts.append(drawing(boxes, arrows, label))
    alone = [tree.members[0] for tree in family.trees if len(tree.members) == 1]
    if alone:
        text = tr("Related to none of the others: {names}", names=", ".join(alone))
        parts.append(f'<p class="note">{html_text(text)}</p>')
    return "".join(parts)


def _box(family: Family, tree: Tree, name: str) -> Box:
    member = family.by_name[name]
    into = [edge for edge in tree.edges if edge.child == name]
    merged = any(edge.relation == "merge" for edge in into)
    about = tr("merge") if merged else descent_text(into[0]) if into else member_facts(member)
    kinds = ("model", "root") if name in tree.roots else ("model",)
    return Box(name, kinds, name, about, f"{name}\n{member.path}\n{member_facts(member)}")


def _label(edge: Descent) -> str:
    return f"{edge.parent} → {edge.child}: {descent_text(edge)}. {translated(edge.reason)}".strip()


def _merge(merge: MergeWeights) -> str:
    sentences = [merge_text(merge), *map(translated, merge.why)]
    facts = {
        tr("method"): translated(merge.method),
        tr("probability"): percent(merge.probability),
        tr("tensors"): str(merge.tensors),
    }
    items = "".join(f"<li>{html_text(text)}</li>" for text in sentences)
    heads = (tr("layer"), tr("component"), *merge.parents)
    rows = [(row[0] or tr("outside"), *row[1:]) for row in group_rows(merge)]
    weights = number_table(tr("Weights of {child}", child=merge.child), heads, rows)
    return f'{fact_list(facts)}<ul class="findings">{items}</ul>{weights}'


def _pairs(family: Family) -> str:
    heads = (
        *(tr("model"), tr("and"), tr("relation"), tr("probability"), tr("related at all")),
        *(tr("origin"), tr("reason")),
    )
    rows = []
    for each in family.relations[:_MOST_PAIRS]:
        origin = {"a": each.a, "b": each.b, None: ""}[each.parent]
        texts = (
            *(each.b, translated(each.relation), percent(each.probability)),
            *(percent(each.related), origin, translated(each.reason)),
        )
        rows.append(text_row(each.a, texts))
    more = len(family.relations) - _MOST_PAIRS
    left = (
        f'<p class="note">{html_text(tr("and {count} more", count=more))}</p>' if more > 0 else ""
    )
    return table(tr("Pairs"), head_cells(heads), rows) + left

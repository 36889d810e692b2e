"""Several models for a terminal: what comes from what, merges with their weights, every pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree as Drawn

from mlx_probe.analysis.lineage.family_records import Descent, Family, Member, Tree
from mlx_probe.analysis.lineage.merge_records import MergeWeights, Part
from mlx_probe.analysis.lineage.records import Relation
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.plain import one_line, printable
from mlx_probe.report.terminal.relation import percent
from mlx_probe.report.terminal.text import short_count

__all__ = ["descent_text", "family_text", "group_rows", "member_facts", "merge_text", "part_text"]

# Pairs, and rows of weights, that are shown; --json and the page have all.
_MOST = 40


def family_text(family: Family) -> RenderableType:
    """The trees first, then merges, then related pairs.

    Args:
        family: By `family_of`.
    """
    parts: list[RenderableType] = [_tree(family, tree) for tree in family.trees]
    if any(not edge.directed for edge in family.edges):
        note = tr(
            "* nearest of kin: which one comes from the other is not told by weights; the tree "
            "begins at the model that is nearest to all others"
        )
        parts.append(f"[dim]{escape(note)}[/]")
    for merge in family.merges:
        parts += ["", *_merge(merge)]
    related = [each for each in family.relations if each.relation != "unrelated"]
    if related:
        parts += ["", _pairs(related)]
    strangers = len(family.relations) - len(related)
    if strangers:
        parts.append(escape(tr("unrelated pairs: {count}", count=strangers)))
    for name, why in family.left_out.items():
        text = tr("{model} was left out: {reason}", model=one_line(name), reason=translated(why))
        parts.append(f"[yellow]{escape(text)}[/]")
    return Group(*parts)


def _tree(family: Family, tree: Tree) -> RenderableType:
    lines: list[RenderableType] = []
    drawn: set[str] = set()
    for root in tree.roots:
        top = Drawn(_member(family.by_name[root]), guide_style="dim")
        _grow(top, root, family, tree, drawn)
        lines.append(top)
    return Group(*lines)


def _grow(branch: Drawn, name: str, family: Family, tree: Tree, drawn: set[str]) -> None:
    drawn.add(name)
    for edge in tree.edges:
        if edge.parent != name:
            continue
        text = escape(descent_text(edge, " *"))
        child = _member(family.by_name[edge.child])
        if edge.child in drawn:
            branch.add(f"[dim]{text}:[/] {child} [dim]{escape(tr('(see there)'))}[/]")
            continue
        _grow(branch.add(f"[dim]{text}:[/] {child}"), edge.child, family, tree, drawn)


def _member(member: Member) -> str:
    return f"[bold]{escape(one_line(member.name))}[/] [dim]({escape(member_facts(member))})[/]"


def member_facts(member: Member) -> str:
    """Parameters and bytes of a model."""
    count = tr("{count} parameters", count=short_count(member.parameters))
    return f"{count}, {format_size(member.nbytes)}"


def descent_text(edge: Descent, mark: str = "") -> str:
    """A relation in a few words, with its probability.

    Args:
        edge: The relation.
        mark: What marks a direction that is not known.
    """
    words = translated(edge.relation)
    if edge.weight is not None:
        words = tr("{weight:.3g} of a merge", weight=edge.weight)
    return f"{words}{'' if edge.directed else mark} {percent(edge.probability)}"


def merge_text(merge: MergeWeights) -> str:
    """One sentence that names the parents and their weights."""
    if merge.parts:
        shares = ", ".join(part_text(part) for part in merge.parts)
        return tr("{child} = {shares}", child=merge.child, shares=shares)
    names = ", ".join(merge.parents)
    if merge.uniform == "tensor":
        return tr("{child}: a merge of {names}, with weights by tensor", child=merge.child,
                  names=names)  # fmt: skip
    return tr(
        "{child}: a merge of {names}, with weights by {level}",
        child=merge.child,
        names=names,
        level=translated(merge.uniform or ""),
    )


def part_text(part: Part) -> str:
    """A weight with its standard error, and whose it is."""
    digits = max(2, min(6, _digits(part.error)))
    return f"{part.weight:.{digits}f} ± {part.error:.1g} {one_line(part.model)}"


def _digits(error: float) -> int:
    """Places behind the point up to the first digit of an error."""
    places = 0
    while error < 0.95 and places < 6:
        error *= 10
        places += 1
    return places


def _merge(merge: MergeWeights) -> list[RenderableType]:
    method = tr("{method} merge, probability {probability}", method=translated(merge.method),
                probability=percent(merge.probability))  # fmt: skip
    lines: list[RenderableType] = [
        f"[bold]{printable(merge_text(merge))}[/]",
        f"  {escape(method)}",
        *(f"  {escape(translated(why))}" for why in merge.why),
    ]
    if not merge.parts:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column(tr("layer"), justify="right")
        table.add_column(tr("component"))
        for name in merge.parents:
            table.add_column(escape(one_line(name)), justify="right", overflow="fold")
        rows = group_rows(merge)
        for row in rows[:_MOST]:
            table.add_row(*map(escape, row))
        lines.append(table)
        if len(rows) > _MOST:
            lines.append(f"  {escape(tr('and {count} more', count=len(rows) - _MOST))}")
    return lines


def group_rows(merge: MergeWeights) -> list[tuple[str, ...]]:
    """Layer, component and the weight of each parent, for each group."""
    return [
        (
            "" if group.layer is None else str(group.layer),
            group.component,
            *(f"{part.weight:.3f} ± {part.error:.1g}" for part in group.parts),
        )
        for group in merge.groups
    ]


def _pairs(relations: Sequence[Relation]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(tr("model"), overflow="fold")
    table.add_column(tr("and"), overflow="fold")
    table.add_column(tr("relation"), no_wrap=True)
    table.add_column(tr("probability"), no_wrap=True, justify="right")
    table.add_column(tr("origin"), overflow="fold")
    for each in relations[:_MOST]:
        origin = {"a": each.a, "b": each.b, None: ""}[each.parent]
        texts: Iterable[str] = (
            one_line(each.a),
            one_line(each.b),
            translated(each.relation),
            percent(each.probability),
            one_line(origin),
        )
        table.add_row(*map(escape, texts))
    if len(relations) <= _MOST:
        return table
    more = tr("and {count} more pairs: see --json", count=len(relations) - _MOST)
    return Group(table, f"  {escape(more)}")

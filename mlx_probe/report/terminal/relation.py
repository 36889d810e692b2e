"""How two models are related, for a terminal: verdict, probability, evidence."""

from __future__ import annotations

import json
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.analysis.lineage import Relation
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.plain import printable

__all__ = ["percent", "relation_text", "verdict"]


def relation_text(relation: Relation) -> RenderableType:
    """The verdict first, then its probability, then a table of the evidence.

    Args:
        relation: By `relate`.
    """
    lines = [f"[bold]{printable(verdict(relation))}[/]"]
    for text in (relation.reason, relation.note):
        if text:
            lines.append(f"  {printable(translated(text))}")
    lines.append(
        "  "
        + printable(
            tr(
                "probability {named}; related at all {related}",
                named=percent(relation.probability),
                related=percent(relation.related),
            )
        )
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(printable(tr("Evidence")), no_wrap=True)
    table.add_column(printable(tr("Value")), no_wrap=True, justify="right")
    table.add_column(printable(tr("What it says")), overflow="fold")
    for each in relation.evidence:
        table.add_row(each.name, printable(_value(each.value)), printable(translated(each.says)))
    return Group(*lines, table, printable(_read(relation)))


def verdict(relation: Relation) -> str:
    """One sentence that names the relation."""
    names = {"a": relation.a, "b": relation.b}
    if relation.parent == "b":
        parent, child = names["b"], names["a"]
    else:
        parent, child = names["a"], names["b"]
    sentences = {
        "same": tr("{child} and {parent} have the same weights", child=child, parent=parent),
        "pruning": tr("{child} is {parent} pruned", child=child, parent=parent),
        "merge": tr("{child} is a merge that {parent} is in", child=child, parent=parent),
        "unrelated": tr("{a} and {b} are unrelated", **names),
    }
    told = relation.parent is not None
    one_way = {
        "quantization": tr("{child} is a quantization of {parent}", child=child, parent=parent),
        "lora": tr("{child} is {parent} with a LoRA merged in", child=child, parent=parent),
        "finetune": tr("{child} is a fine-tune of {parent}", child=child, parent=parent),
    }
    either = {
        "quantization": tr(
            "{child} and {parent} are quantizations of one model", child=child, parent=parent
        ),
        "lora": tr(
            "{child} and {parent} differ by a merged LoRA; which one is the base is not told",
            child=child,
            parent=parent,
        ),
        "finetune": tr(
            "{child} and {parent} have a common origin: fine-tuning; which one is the base is not "
            "told",
            child=child,
            parent=parent,
        ),
    }
    return {**sentences, **(one_way if told else either)}[relation.relation]


def percent(probability: float) -> str:
    """A probability in percent; never 100 % unless it is 1."""
    if probability == 1:
        return "100 %"
    return f"{min(probability, 0.9999):.2%}".replace("%", " %")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " / ".join(map(_value, value))
    return value if isinstance(value, str) else json.dumps(value)


def _read(relation: Relation) -> str:
    read, total = relation.sample["read_bytes"], relation.sample["model_bytes"]
    return tr(
        "read {read_a} of {total_a} of A, {read_b} of {total_b} of B",
        read_a=format_size(read[0]),
        total_a=format_size(total[0]),
        read_b=format_size(read[1]),
        total_b=format_size(total[1]),
    )

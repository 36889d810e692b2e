"""A budget, for a terminal: sizes and error, kinds of matrices, and what is kept and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.budget_export import exported_text
from mlx_probe.report.terminal.plain import printable
from mlx_probe.report.terminal.text import grid

__all__ = ["budget_text"]

# Kinds of reasons, and choices of a kind of matrix, that are listed.
_REASONS, _CHOICES = 6, 3


def budget_text(budget: Mapping[str, Any]) -> RenderableType:
    """Facts, a table by kind of matrix, and what is kept and why.

    Args:
        budget: The document of `mlx-probe budget MODEL --json`.
    """
    matrices = [row for row in budget["choices"] if row["status"] != "kept"]
    nothing = [row for row in budget["choices"] if row["status_reason"]]
    parts: list[RenderableType] = [grid(_facts(budget, matrices))]
    if matrices:
        parts.append(_table(matrices))
    if nothing:
        parts.append(grid({tr("kept"): "\n".join(_reasons(nothing))}))
    if budget["exported"] is not None:
        parts += exported_text(budget["exported"])
    return Group(*parts)


def _facts(budget: Mapping[str, Any], matrices: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    before, after = budget["bytes_before"], budget["bytes_after"]
    facts = {
        tr("model"): budget["model"],
        tr("goal"): _goal(budget["goal"]),
        tr("size"): tr(
            "{before} before, {after} after: {saved} bytes saved ({share})",
            before=format_size(before),
            after=format_size(after),
            saved=f"{budget['saved']:,}",
            share=f"{budget['saved'] / before:.1%}" if before else "-",
        ),
        tr("predicted error"): tr(
            "{error} of the norm of {count} matrices",
            error=f"{budget['relative_error']:.3%}",
            count=len(matrices),
        ),
        tr("choice"): _bound(budget),
    }
    if "rank" in budget["kinds"]:
        facts[tr("ranks")] = _ranks(matrices)
    if budget["run"]:
        facts[tr("folder")] = budget["run"]
    return {name: text for name, text in facts.items() if text}


def _goal(goal: Mapping[str, Any]) -> str:
    if goal["size"] is not None:
        return tr("at most {size}, the least error", size=format_size(goal["size"]))
    if goal["error"] is not None:
        return tr("an error of at most {error}, the fewest bytes", error=f"{goal['error']:.3%}")
    return tr(
        "{energy} of the squared norm of each matrix, the fewest bytes",
        energy=f"{goal['energy']:.4g}",
    )


def _bound(budget: Mapping[str, Any]) -> str:
    if not budget["bound"]:
        return tr("the best there is")
    if budget["goal"]["size"] is not None:
        return tr(
            "the best one has a squared error smaller by at most {gap}", gap=f"{budget['gap']:.3%}"
        )
    return tr("the best one is smaller by at most {size}", size=format_size(int(budget["bound"])))


def _ranks(matrices: Sequence[Mapping[str, Any]]) -> str:
    """How many matrices are too flat for a cut."""
    flat = sum(
        row["rank_needed"] is None or row["rank_needed"] > row["rank_saving"] for row in matrices
    )
    return tr(
        "{flat} of {count} matrices need a rank at which their factors save nothing",
        flat=flat,
        count=len(matrices),
    )


def _table(matrices: Sequence[Mapping[str, Any]]) -> Table:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in matrices:
        groups.setdefault(row["block_type"], []).append(row)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.add_column(tr("matrices"), no_wrap=True)
    drawn.add_column("#", justify="right", no_wrap=True)
    drawn.add_column(tr("choice"), overflow="fold")
    for name in (tr("before"), tr("after"), tr("rel. error")):
        drawn.add_column(name, justify="right", no_wrap=True)
    for name, rows in groups.items():
        drawn.add_row(
            printable(name),
            str(len(rows)),
            _choices(rows),
            format_size(sum(row["bytes_before"] for row in rows)),
            format_size(sum(row["bytes_after"] for row in rows)),
            _error(rows),
        )
    return drawn


def _error(rows: Sequence[Mapping[str, Any]]) -> str:
    energy = sum(row["energy"] or 0.0 for row in rows)
    if not energy:
        return "-"
    squared = sum((row["error"] or 0.0) ** 2 * (row["energy"] or 0.0) for row in rows)
    return f"{(squared / energy) ** 0.5:.2%}"


def _choices(rows: Sequence[Mapping[str, Any]]) -> str:
    """The choices of some matrices, the most frequent first; ranks as one."""
    ranks = sorted(row["rank"] for row in rows if row["choice"] == "rank")
    names = Counter(_choice(row) for row in rows if row["choice"] != "rank")
    texts = [f"{count} x {name}" for name, count in names.most_common(_CHOICES)]
    if len(names) > _CHOICES:
        texts.append(tr("and {count} more", count=len(names) - _CHOICES))
    if ranks:
        span = str(ranks[0]) if ranks[0] == ranks[-1] else f"{ranks[0]}-{ranks[-1]}"
        texts.append(tr("{count} x rank {span}", count=len(ranks), span=span))
    # A line breaks between choices only.
    return ", ".join(text.replace(" ", "\u00a0") for text in texts)


def _choice(row: Mapping[str, Any]) -> str:
    if row["choice"] == "keep":
        return tr("as it is")
    if row["mode"] != "affine":
        return str(row["mode"])
    return tr("{bits}-bit/{group}", bits=row["bits"], group=row["group"])


def _reasons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Reasons that differ only in a number are of one kind; the first is shown."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        kinds.setdefault(re.sub(r"\d+", "#", row["status_reason"]), []).append(row)
    lines = []
    for alike in sorted(kinds.values(), key=len, reverse=True)[:_REASONS]:
        first = alike[0]
        nbytes = format_size(sum(row["bytes_after"] for row in alike))
        lines.append(
            tr(
                "{count} ({size}), as {name}: {reason}",
                count=len(alike),
                size=nbytes,
                name=first["name"],
                reason=translated(first["status_reason"]),
            )
        )
    if len(kinds) > _REASONS:
        lines.append(tr("and {count} more reasons", count=len(kinds) - _REASONS))
    return lines

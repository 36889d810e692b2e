"""What takes space, and what of it may go, as text for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.library.space import SPACE_KINDS, Batch, Item, Kept, Moved, Survey
from mlx_probe.report.terminal.text import printable

__all__ = ["batches_text", "moved_json", "moved_text", "space_json", "space_text"]

# Paths that stay, and troubles, that are shown.
_MOST = 5


def space_text(survey: Survey, kinds: Sequence[str], limit: int) -> RenderableType:
    """What takes how much, what may go, and why the rest stays.

    Args:
        survey: The state of this machine.
        kinds: Keys of `SPACE_KINDS` that are shown.
        limit: How many of the largest items.
    """
    chosen = [item for item in survey.items if item.kind in kinds]
    shown: list[RenderableType] = [_places(survey)] if survey.places else []
    shown.append(_summary(survey, kinds))
    if chosen:
        shown.append(_items(chosen[:limit]))
    lines = []
    if len(chosen) > limit:
        lines.append(tr("and {count} more (--limit)", count=len(chosen) - limit))
    total = format_size(sum(item.frees for item in chosen))
    lines.append(
        tr("{count} may go: {size} would be free", count=len(chosen), size=total)
        if chosen
        else tr("Nothing may go")
    )
    lines += _kept([kept for kept in survey.kept if kept.kind in kinds])
    lines += _complaints(tr("not understood, stays"), survey.troubles)
    return Group(*shown, "\n".join(lines))


def _places(survey: Survey) -> Table:
    table = _table(tr("what"), tr("files"), tr("size"), tr("free there"), tr("folder"), numbers=3)
    for place in survey.places:
        table.add_row(
            translated(place.title),
            f"{place.files:,}",
            format_size(place.size),
            format_size(place.free),
            printable(str(place.folder)),
        )
    return table


def _summary(survey: Survey, kinds: Sequence[str]) -> Table:
    table = _table(tr("kind"), tr("count"), tr("size"), tr("would free"), tr("why it is safe"))
    for row in _rows(survey, kinds):
        kind = SPACE_KINDS[row["kind"]]
        safe = translated(kind.safe)
        table.add_row(
            row["kind"],
            f"{row['count']:,}",
            format_size(row["size"]),
            format_size(row["frees"]),
            f"{safe}: `{kind.command}`" if kind.command else safe,
        )
    return table


def _items(items: Sequence[Item]) -> Table:
    table = _table(tr("kind"), tr("would free"), tr("item"), numbers=1)
    for item in items:
        table.add_row(item.kind, format_size(item.frees), printable(translated(item.name)))
    return table


def _table(*names: str, numbers: int = 3) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for number, name in enumerate(names):
        last = number == len(names) - 1
        table.add_column(
            name,
            justify="right" if 0 < number <= numbers else "left",
            no_wrap=not last,
            overflow="fold",
        )
    return table


def _rows(survey: Survey, kinds: Sequence[str]) -> list[dict[str, Any]]:
    own = {batch: size for batch, size in survey.binned.items() if batch}
    elsewhere = {
        "duplicates": (survey.copies, survey.saves),
        "bin": (len(own), sum(own.values())),
        "run-bin": (int("" in survey.binned), survey.binned.get("", 0)),
    }
    rows = []
    for name in kinds:
        items = survey.of(name)
        count, size = elsewhere.get(name, (len(items), sum(item.size for item in items)))
        frees = size if name in elsewhere else sum(item.frees for item in items)
        rows.append({"kind": name, "count": count, "size": size, "frees": frees})
    return rows


def space_json(survey: Survey, kinds: Sequence[str], limit: int | None) -> dict[str, Any]:
    """The same as a document; every item without a limit."""
    items = [item for item in survey.items if item.kind in kinds]
    return {
        "places": [
            {
                "title": place.title,
                "folder": str(place.folder),
                "files": place.files,
                "size": place.size,
                "free": place.free,
            }
            for place in survey.places
        ],
        "kinds": [
            {
                **row,
                "why": SPACE_KINDS[row["kind"]].safe,
                "command": SPACE_KINDS[row["kind"]].command
                or f"mlx-probe catalog space --remove {row['kind']}",
            }
            for row in _rows(survey, kinds)
        ],
        "items": [
            {
                "kind": item.kind,
                "name": item.name,
                "paths": [str(path) for path in item.paths],
                "size": item.size,
                "frees": item.frees,
                "why": item.why,
            }
            for item in items[:limit]
        ],
        "frees": sum(item.frees for item in items),
        "kept": [
            {"kind": kept.kind, "path": str(kept.path), "why": kept.why}
            for kept in survey.kept
            if kept.kind in kinds
        ],
        "runs": survey.runs,
        "troubles": [{"path": str(path), "why": why} for path, why in survey.troubles],
    }


def moved_text(done: Moved, what: str) -> RenderableType:
    """The result of a change.

    Args:
        done: The result.
        what: A text with {count} and {size}, in the reader's language.
    """
    lines = [what.format(count=len(done.paths), size=format_size(done.size))]
    lines += _complaints(tr("stays as it is"), done.skipped)
    return "\n".join(lines)


def moved_json(done: Moved) -> dict[str, Any]:
    """The same as a document."""
    return {
        "batch": done.batch,
        "paths": [str(path) for path in done.paths],
        "size": done.size,
        "skipped": [{"path": str(path), "why": why} for path, why in done.skipped],
    }


def batches_text(found: Sequence[Batch]) -> RenderableType:
    """What is in the bins."""
    table = _table(tr("batch"), tr("count"), tr("size"), tr("removed"), tr("kind"), numbers=2)
    for batch in found:
        table.add_row(
            batch.id,
            f"{len(batch.tokens):,}",
            format_size(batch.size),
            batch.created_at[:16],
            " ".join(batch.kinds),
        )
    return table


def _kept(kept: Sequence[Kept]) -> list[str]:
    return _complaints(tr("needed, stays"), [(each.path, each.why) for each in kept])


def _complaints(what: str, entries: Sequence[tuple[Path, str]]) -> list[str]:
    lines = [
        f"[yellow]{what}[/] {printable(str(path))}: {printable(translated(why))}"
        for path, why in entries[:_MOST]
    ]
    if len(entries) > _MOST:
        more = tr("and {count} more (--json lists all)", count=len(entries) - _MOST)
        lines.append(f"[yellow]{what}[/] {more}")
    return lines

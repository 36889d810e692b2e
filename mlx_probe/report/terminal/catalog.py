"""Models, duplicates and links as text for a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.library.catalog import Dedupe, Duplicates, Kin, LinkPlan, Model, Scan
from mlx_probe.report.fields import architecture_text
from mlx_probe.report.terminal.text import grid, printable, short_count
from mlx_probe.source.stores import STORES

__all__ = [
    "done_json",
    "done_text",
    "duplicates_json",
    "duplicates_text",
    "model_text",
    "models_json",
    "models_table",
    "plan_json",
    "plan_text",
    "scan_json",
    "scan_text",
]

# Entries of a long list that are shown.
_MOST = 20
# Columns of a terminal that the wide table needs.
_WIDE = 130
_SHORT_KEY = 8
# Letters of a name in the table; `show` prints the whole name.
_LONGEST = 120


def scan_text(scan: Scan) -> RenderableType:
    """Counts of a scan, and what it could not read."""
    lines = [
        tr(
            "{new} new, {changed} changed, {same} as before, {gone} gone, {runs} finished runs",
            new=len(scan.added),
            changed=len(scan.changed),
            same=scan.unchanged,
            gone=len(scan.missing),
            runs=scan.runs,
        )
    ]
    for store, folder in scan.searched:
        title, path = translated(STORES[store].title), printable(str(folder))
        lines.append("  " + tr("looked through {store}: {folder}", store=title, folder=path))
    problems = [(model.id, model.problem) for model in scan.problems]
    lines += _complaints(tr("cannot be read"), problems)
    troubles = [(str(path), why) for path, why in scan.troubles]
    lines += _complaints(tr("left out"), troubles)
    lines += _complaints(tr("gone"), [(model.id, str(model.path)) for model in scan.missing])
    return "\n".join(lines)


def scan_json(scan: Scan) -> str:
    """The same as JSON."""
    content = {
        "looked": [{"store": store, "folder": str(folder)} for store, folder in scan.searched],
        "added": [model.describe() for model in scan.added],
        "changed": [model.describe() for model in scan.changed],
        "unchanged": scan.unchanged,
        "missing": [model.describe() for model in scan.missing],
        "troubles": [{"path": str(path), "why": why} for path, why in scan.troubles],
        "runs": scan.runs,
    }
    return json.dumps(content, indent=2)


def models_table(models: Sequence[Model], width: int) -> RenderableType:
    """A line for each model; more columns where they fit.

    Args:
        models: In the order to show.
        width: Columns of the terminal.
    """
    wide = width >= _WIDE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(tr("key"), no_wrap=True)
    # The only column that wraps: a name is useful only as a whole.
    table.add_column(tr("model"), overflow="fold")
    for name in (tr("params"), tr("bits"), tr("size")):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(tr("dtype"), no_wrap=True, overflow="ellipsis", max_width=22 if wide else 10)
    if wide:
        table.add_column(tr("format"), no_wrap=True, max_width=11)
        table.add_column(tr("architecture"), no_wrap=True, overflow="ellipsis", max_width=16)
        table.add_column(tr("store"), no_wrap=True)
        table.add_column(tr("licence"), no_wrap=True, overflow="ellipsis", max_width=18)
        table.add_column(tr("written"), no_wrap=True)
        table.add_column(tr("tags"), no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column(tr("analyzed"), no_wrap=True)
    for model in models:
        state = tr("gone") if model.missing else tr("unreadable") if model.problem else ""
        cells = [
            model.key[:_SHORT_KEY],
            printable(model.id if len(model.id) <= _LONGEST else f"{model.id[:_LONGEST]}..."),
            "-" if model.parameters is None else short_count(model.parameters),
            "-" if model.bits is None else f"{model.bits:.2f}",
            format_size(model.size),
            f"[red]{state}[/]" if state else printable(model.dtype),
        ]
        if wide:
            cells += [
                printable(model.format),
                printable(model.architecture),
                model.store,
                printable(model.licence),
                printable(model.modified_at[:10]),
                printable(" ".join(model.tags)),
            ]
        table.add_row(*cells, printable(model.analyzed_at[:10]) or "-")
    total = sum(model.size for model in models)
    count = tr("1 model") if len(models) == 1 else tr("{count} models", count=len(models))
    return Group(table, f"{count}, {format_size(total)}")


def models_json(models: Sequence[Model]) -> str:
    """All that is known about models, as JSON."""
    return json.dumps([model.describe() for model in models], indent=2)


def model_text(
    model: Model,
    versions: Sequence[tuple[Model, str]],
    kin: Sequence[tuple[Model, Kin]] = (),
) -> RenderableType:
    """All that is known about one model.

    Args:
        model: The model.
        versions: From `find_versions`.
        kin: From `named_kin`.
    """
    dtypes = enumerated(f"{name} {short_count(count)}" for name, count in model.dtypes.items())
    shape = architecture_text(model.shape)
    lines = {
        tr("key"): model.key,
        tr("model"): model.id,
        tr("revision"): model.revision,
        tr("store"): translated(STORES[model.store].title)
        if model.store in STORES
        else model.store,
        tr("path"): str(model.path),
        tr("format"): model.format,
        tr("architecture"): enumerated(filter(None, (model.architecture, shape))),
        tr("adapter"): model.adapter,
        tr("parameters"): "" if model.parameters is None else f"{model.parameters:,}",
        tr("stored as"): dtypes,
        tr("size"): format_size(model.size)
        + ("" if model.bits is None else tr(", {bits} bits a weight", bits=f"{model.bits:.2f}")),
        tr("licence"): model.licence,
        tr("base model"): ", ".join(model.base_models),
        tr("source"): model.url,
        tr("written"): model.modified_at,
        tr("found"): model.found_at,
        tr("description"): model.description,
        tr("problem"): translated(model.problem),
        tr("state"): tr("its files have gone") if model.missing else "",
        tr("tags"): " ".join(model.tags),
        tr("note"): model.note,
    }
    lines |= {
        tr("files"): _several([_file_line(file) for file in model.files]),
        tr("runs"): _several([f"{r.created_at[:16]} {r.kind}: {r.path}" for r in model.analyses]),
        tr("kin"): _several([_kin_line(other, pair, model.key) for other, pair in kin]),
        tr("versions"): _several(
            [
                f"{other.key[:_SHORT_KEY]} {other.id}, {other.dtype}, "
                f"{format_size(other.size)} ({translated(why)})"
                for other, why in versions
            ]
        ),
    }
    return grid({name: text for name, text in lines.items() if text})


def _kin_line(other: Model, pair: Kin, key: str) -> str:
    """A related model: by its weights, and not by its name."""
    role = {
        "origin": tr("origin"),
        "descendant": tr("descendant"),
        "": tr("which was first is not told"),
    }[pair.role(key)]
    return (
        f"{other.key[:_SHORT_KEY]} {other.id}: {translated(pair.relation)} "
        f"{100 * pair.probability:.1f} %, {role} ({pair.measured_at[:10]})"
    )


def duplicates_text(result: Duplicates) -> RenderableType:
    """Groups of files with the same bytes, and what hard links would save."""
    lines = []
    for group in result.groups:
        copies = tr(
            "{count} copies of {size}", count=len(group.copies), size=format_size(group.size)
        )
        saved = tr("links would save {size}", size=format_size(group.saves))
        lines.append(f"[bold]{copies}[/], {saved}  [dim]sha256 {group.sha256[:12]}[/]")
        for number, copy in enumerate(group.copies):
            # The first copy is the one that would stay.
            mark = "*" if number == 0 else " "
            for name in copy.names:
                lines.append(f"  {mark} {printable(str(name))}")
            lines.append(f"    [dim]{printable(', '.join(copy.models))}[/]")
    total = sum(group.saves for group in result.groups)
    lines.append(
        tr(
            "{groups} group(s) among {files} file(s); links would save {size} ({hashed} hashed)",
            groups=len(result.groups),
            files=result.compared,
            size=format_size(total),
            hashed=format_size(result.hashed),
        )
    )
    lines += _complaints(tr("left out"), [(str(path), why) for path, why in result.troubles])
    return "\n".join(lines)


def duplicates_json(result: Duplicates) -> str:
    """The same as JSON."""
    content = {
        "groups": [
            {
                "sha256": group.sha256,
                "size": group.size,
                "saves": group.saves,
                "copies": [
                    {
                        "paths": [str(name) for name in copy.names],
                        "store": copy.store,
                        "models": list(copy.models),
                    }
                    for copy in group.copies
                ],
            }
            for group in result.groups
        ],
        "saves": sum(group.saves for group in result.groups),
        "compared": result.compared,
        "hashed": result.hashed,
        "troubles": [{"path": str(path), "why": why} for path, why in result.troubles],
    }
    return json.dumps(content, indent=2)


def plan_text(plan: LinkPlan) -> RenderableType:
    """Which paths would become links, and to which file."""
    lines, before = [], None
    for link in plan.links:
        if link.keeper != before:
            keeper, size = printable(str(link.keeper)), format_size(link.size)
            lines.append(tr("{path} stays, {size}", path=keeper, size=size))
        lines.append(f"  <- {printable(str(link.path))}")
        before = link.keeper
    lines.append(
        tr(
            "{count} file(s) to become {links}: {size} freed",
            count=len(plan.links),
            links=tr("symbolic links") if plan.symbolic else tr("hard links"),
            size=format_size(plan.saves),
        )
    )
    lines += _complaints(tr("stays as it is"), [(str(path), why) for path, why in plan.skipped])
    return "\n".join(lines)


def done_text(done: Dedupe, what: str, freed: str) -> RenderableType:
    """The result of `dedupe` or `undo`.

    Args:
        done: The result.
        what: What the paths became.
        freed: What happened to the bytes.
    """
    count = tr("{count} file(s)", count=len(done.changed))
    lines = [f"{count} {what}: {format_size(done.saved)} {freed}"]
    lines += _complaints(tr("stays as it is"), [(str(path), why) for path, why in done.skipped])
    return "\n".join(lines)


def done_json(done: Dedupe) -> str:
    """The same as JSON."""
    content: dict[str, Any] = asdict(done)
    content["changed"] = [str(path) for path in done.changed]
    content["skipped"] = [{"path": str(path), "why": why} for path, why in done.skipped]
    return json.dumps(content, indent=2)


def plan_json(plan: LinkPlan) -> str:
    """A plan as JSON."""
    content = {
        "symbolic": plan.symbolic,
        "saves": plan.saves,
        "links": [
            {"path": str(link.path), "keeper": str(link.keeper), "size": link.size}
            for link in plan.links
        ],
        "skipped": [{"path": str(path), "why": why} for path, why in plan.skipped],
    }
    return json.dumps(content, indent=2)


def _complaints(what: str, entries: Sequence[tuple[str | Path, str]]) -> list[str]:
    lines = [
        f"[yellow]{what}[/] {printable(str(name))}: {printable(translated(why))}"
        for name, why in entries[:_MOST]
    ]
    if len(entries) > _MOST:
        more = tr("and {count} more", count=len(entries) - _MOST)
        lines.append(f"[yellow]{what}[/] {more}")
    return lines


def _several(entries: Sequence[str]) -> str:
    """Entries as lines; line ends within an entry are escaped."""
    lines = [entry.replace("\n", "\\n") for entry in entries[:_MOST]]
    if len(entries) > _MOST:
        lines.append(tr("and {count} more", count=len(entries) - _MOST))
    return "\n".join(lines)


def _file_line(file: Any) -> str:
    hashed = f", sha256 {file.sha256}" if file.sha256 else ""
    return f"{file.path} ({file.role}, {format_size(file.size)}{hashed})"

"""Backups as text for a terminal, and for --json."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table

from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.library.backup import (
    Created,
    Drill,
    Entry,
    LeftOut,
    Pruning,
    Repository,
    Restored,
    Roots,
    Snapshot,
    Verification,
    WeightCheck,
)
from mlx_probe.report.terminal.plain import printable

__all__ = [
    "created_json",
    "created_text",
    "drill_json",
    "drill_text",
    "paths_text",
    "pruning_json",
    "pruning_text",
    "restored_json",
    "restored_text",
    "schedule_text",
    "snapshots_text",
    "verification_json",
    "verification_text",
]

# Lines of a long list that are shown.
_MOST = 20
_SHORT = 16


def paths_text(
    roots: Roots, kinds: Sequence[tuple[str, Path]] | None, repository: Repository
) -> str:
    """What is going to be backed up, and where the password of a new archive is."""
    titles = {
        "runs": tr("runs"),
        "documents": tr("documents"),
        "configuration": tr("configuration"),
        "catalog": tr("catalog"),
    }
    of = {path: titles[kind] for kind, path in kinds or ()}
    lines = [tr("Backing up into {repo}:", repo=printable(str(repository.root)))]
    for path in roots.paths:
        kind = f"  ({of[path]})" if path in of else ""
        lines.append(f"  {printable(str(path))}{kind}")
    if (key := repository.root / "mlx-probe.key").exists():
        lines.append(
            tr(
                "restic encrypts this archive; its password is in {path}. Whoever can read that "
                "file can read the archive, and without it nobody can: keep a copy elsewhere.",
                path=printable(str(key)),
            )
        )
    return "\n".join(lines)


def created_text(created: Created) -> RenderableType:
    """What is in a new snapshot, and what is not."""
    totals = created.snapshot.totals
    lines = []
    if totals is not None:
        lines.append(
            tr(
                "Snapshot {id}: {files} files, {size}; {read} were read, the archive grew by "
                "{added}",
                id=created.snapshot.id[:_SHORT],
                files=f"{totals.files:,}",
                size=format_size(totals.size),
                read=f"{created.read:,}",
                added=format_size(created.added),
            )
        )
    lines += _references(created.weights)
    lost = [each for each in created.left_out if each.is_lost]
    empty = [each for each in created.left_out if not each.is_lost]
    if lost:
        lines.append(tr("[bold red]{n} files are not whole in it:[/]", n=f"{len(lost):,}"))
        lines += _left_out(lost)
    if empty:
        lines.append(tr("Left out:"))
        lines += _left_out(empty)
    return "\n".join(lines)


def _references(weights: Sequence[Entry]) -> list[str]:
    if not weights:
        return []
    size = format_size(sum(each.size for each in weights))
    lines = [
        tr(
            "[bold yellow]{n} weight files ({size}) are NOT stored, only their paths and hashes; "
            "--include-weights stores them:[/]",
            n=f"{len(weights):,}",
            size=size,
        )
    ]
    lines += _listed(f"{printable(each.path)}  ({_origin(each)})" for each in weights)
    if any(not each.origin for each in weights):
        lines.append(
            tr(
                "[bold yellow]Of those without an origin this disk may have the only copy: store "
                "them.[/]"
            )
        )
    return lines


def _origin(entry: Entry) -> str:
    if not entry.origin:
        return f"{format_size(entry.size)}, {tr('no known origin')}"
    parts = (entry.origin.get(key, "") for key in ("model", "revision"))
    return printable(enumerated([format_size(entry.size), *filter(None, parts)]))


def _left_out(entries: Iterable[LeftOut]) -> list[str]:
    return _listed(
        ": ".join(filter(None, (printable(each.path), printable(translated(each.why)))))
        for each in entries
    )


def _listed(texts: Iterable[str]) -> list[str]:
    every = list(texts)
    lines = [f"  {text}" for text in every[:_MOST]]
    if len(every) > _MOST:
        lines.append("  " + tr("and {n} more", n=f"{len(every) - _MOST:,}"))
    return lines


def snapshots_text(snapshots: Sequence[Snapshot]) -> RenderableType:
    """A table of snapshots."""
    if not snapshots:
        return tr("No snapshot yet: run `mlx-probe backup create`")
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column(tr("id"), no_wrap=True)
    table.add_column(tr("time"), no_wrap=True)
    table.add_column(tr("files"), justify="right")
    table.add_column(tr("size"), justify="right")
    table.add_column(tr("weights not stored"), justify="right")
    table.add_column(tr("paths"))
    for each in snapshots:
        totals = each.totals
        files, size, weights = "", "", ""
        if totals is not None:
            files, size = f"{totals.files:,}", format_size(totals.size)
            weights = f"{totals.weights:,}" if totals.weights else ""
            if totals.weights:
                weights += f" ({format_size(totals.weight_bytes)})"
        names = enumerated(printable(path) for path in each.paths)
        table.add_row(each.id[:_SHORT], local_time(each.time), files, size, weights, names)
    return table


def local_time(text: str) -> str:
    """A time of an archive on this machine's clock."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return printable(text)


def verification_text(found: Verification, repository: Repository) -> RenderableType:
    """Every damaged file with what it concerns, or that all is sound."""
    lines = [f"[yellow]{printable(translated(note))}[/]" for note in found.notes]
    for each in found.damage:
        path = printable(str(repository.root / each.file))
        lines.append(f"[bold red]{path}: {printable(translated(each.why))}[/]")
        lines += [f"    {printable(text)}" for text in each.concerns]
        if each.others:
            lines.append("    " + tr("and {n} more", n=f"{each.others:,}"))
    counts = {
        "files": f"{found.files:,}",
        "size": format_size(found.size),
        "snapshots": f"{found.snapshots:,}",
    }
    if found.damage:
        lines.append(tr("{n} files of the archive are damaged", n=f"{len(found.damage):,}"))
        lines.append(
            "  "
            + tr(
                "Check the disk. Move damaged packs away and run `backup create` again: files that "
                "are still there are stored anew"
            )
        )
    else:
        lines.append(tr("Sound: {files} files read back, {size}; snapshots: {snapshots}", **counts))
    return "\n".join(lines)


def restored_text(restored: Restored, weights: Sequence[WeightCheck]) -> RenderableType:
    """What was restored, and what has to be fetched."""
    lines = [
        tr(
            "Restored {files} files, {size}, every hash checked: {out}",
            files=f"{restored.files:,}",
            size=format_size(restored.size),
            out=printable(str(restored.out)),
        )
    ]
    if restored.lost:
        n = f"{len(restored.lost):,}"
        lines.append(tr("[bold red]{n} files are lost: the archive is damaged[/]", n=n))
        lines += _left_out(restored.lost)
    if weights:
        n = f"{len(weights):,}"
        lines.append(
            tr("[bold yellow]{n} weight files were not in the archive, only their hashes:[/]", n=n)
        )
        states = {
            "there": tr("still there, and the same"),
            "changed": tr("there, but another content: fetch it again"),
            "missing": tr("gone: fetch it again"),
        }
        lines += _listed(
            f"{printable(str(each.path))}: {states[each.state]}  ({_origin(each.entry)})"
            for each in weights
        )
    return "\n".join(lines)


def pruning_text(plan: Pruning, is_done: bool) -> RenderableType:
    """Snapshots that stay, and those that do not."""
    lines = [tr("Kept:")] if plan.kept else []
    for each, rules in plan.kept:
        lines.append(f"  {each.id[:_SHORT]}  {local_time(each.time)}  {enumerated(rules)}")
    if plan.removed:
        lines.append(tr("Removed:") if is_done else tr("To remove:"))
        lines += [f"  {each.id[:_SHORT]}  {local_time(each.time)}" for each in plan.removed]
    if plan.freed is not None:
        size = format_size(max(0, plan.freed))
        freed = tr("{size} freed", size=size) if is_done else tr("Would free {size}", size=size)
        lines.append(freed)
    return "\n".join(lines)


def drill_text(drill: Drill) -> RenderableType:
    """How a drill went."""
    lines = [
        tr(
            "Snapshot {id}, seed {seed}: {files} files restored, {size}; {same} are the same as on "
            "the disk, {changed} have changed there since",
            id=drill.snapshot[:_SHORT],
            seed=drill.seed,
            files=f"{drill.files:,}",
            size=format_size(drill.size),
            same=f"{drill.same:,}",
            changed=f"{drill.changed:,}",
        )
    ]
    if drill.failed:
        lines.append(tr("[bold red]{n} files failed:[/]", n=f"{len(drill.failed):,}"))
        lines += _left_out(drill.failed)
    else:
        lines.append(tr("Passed"))
    lines.append(tr("Report: {path}", path=printable(str(drill.report))))
    return "\n".join(lines)


def schedule_text(label: str, installed: str, removed: bool) -> str:
    """Where an entry is, or that it is gone."""
    if installed:
        return tr("{label} is installed: {where}", label=label, where=printable(installed))
    if removed:
        return tr("{label} is removed", label=label)
    return tr("{label} was not installed", label=label)


def created_json(created: Created, repository: Repository) -> dict[str, Any]:
    """The document of `create`."""
    return {
        **created.snapshot.describe(),
        "repo": os.fspath(repository.root),
        "kind": repository.kind,
        "read": created.read,
        "added": created.added,
        "not_whole": [vars(each) for each in created.left_out],
        "not_stored": [
            {
                "path": each.path,
                "size": each.size,
                "sha256": each.sha256,
                "origin": dict(each.origin),
            }
            for each in created.weights
        ],
    }


def verification_json(found: Verification, repository: Repository) -> dict[str, Any]:
    """The document of `verify`."""
    return {
        "repo": os.fspath(repository.root),
        "kind": repository.kind,
        "sound": not found.damage,
        "damage": [
            {**vars(each), "file": os.fspath(repository.root / each.file)} for each in found.damage
        ],
        "notes": found.notes,
        "snapshots": found.snapshots,
        "files": found.files,
        "size": found.size,
    }


def restored_json(restored: Restored, weights: Sequence[WeightCheck]) -> dict[str, Any]:
    """The document of `restore`."""
    return {
        "snapshot": restored.snapshot.id,
        "base": restored.snapshot.base,
        "out": os.fspath(restored.out),
        "files": restored.files,
        "size": restored.size,
        "lost": [{"path": each.path, "why": each.why} for each in restored.lost],
        "not_stored": [each.describe() for each in weights],
    }


def pruning_json(plan: Pruning, is_done: bool) -> dict[str, Any]:
    """The document of `prune`."""
    return {
        "kept": [{"id": each.id, "time": each.time, "rules": rules} for each, rules in plan.kept],
        "removed": [{"id": each.id, "time": each.time} for each in plan.removed],
        "freed": plan.freed,
        "done": is_done,
    }


def drill_json(drill: Drill) -> dict[str, Any]:
    """The document of `drill`."""
    return {
        **vars(drill),
        "report": os.fspath(drill.report),
        "failed": [{"path": each.path, "why": each.why} for each in drill.failed],
        "passed": not drill.failed,
    }

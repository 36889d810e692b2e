"""Downloads and verifications as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.library.download import Downloaded, DownloadPlan, Verification
from mlx_probe.report.terminal.text import printable
from mlx_probe.report.terminal.wrapping import cells, padded

__all__ = [
    "download_json",
    "download_plan_text",
    "download_text",
    "verification_json",
    "verification_text",
]


def files_table(plan: DownloadPlan) -> Table:
    """The wanted files, and their states on this disk."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(tr("file"), overflow="fold")
    table.add_column(tr("size"), justify="right", no_wrap=True)
    table.add_column(tr("to fetch"), justify="right", no_wrap=True)
    table.add_column(tr("state"), no_wrap=True)
    for item in plan.items:
        size = tr("unknown") if item.file.size is None else format_size(item.file.size)
        table.add_row(
            printable(item.file.name), size, format_size(item.to_fetch), _state(item.state)
        )
    return table


def download_plan_text(plan: DownloadPlan) -> RenderableType:
    """How much would be fetched, to which folder, and whether it fits."""
    fits = "" if plan.to_fetch <= plan.free else tr(": too little")
    size, fetched = format_size(plan.size), format_size(plan.to_fetch)
    return _lines(
        {
            tr("model"): f"{plan.listing.model} {plan.listing.revision}",
            tr("to"): str(plan.listing.destination.folder),
            tr("size"): tr("{size}, to fetch {fetched}", size=size, fetched=fetched),
            tr("free"): f"{format_size(plan.free)}{fits}",
        }
    )


def _state(state: str) -> str:
    states = {
        "verified": tr("verified"),
        "unverified": tr("unverified"),
        "wrong": tr("wrong"),
        "partial": tr("partial"),
        "missing": tr("missing"),
    }
    return states[state]


def _lines(facts: Mapping[str, str], indent: str = "") -> RenderableType:
    width = max(map(cells, facts)) + 2
    return Group(*(_line(f"{indent}{padded(name, width)}{text}") for name, text in facts.items()))


def download_text(done: Downloaded) -> RenderableType:
    """What was downloaded, and where it is."""
    count = len(done.plan.items)
    before = "" if done.received else tr(", nothing had to be fetched")
    proof = tr("all verified")
    if _is_unverified(done):
        # The server publishes no hash.
        proof = tr(
            "length as the server says, no hash to verify; the manifest has the hash of each file"
        )
    size = format_size(done.plan.size)
    said = tr("{count} file(s), {size}, {proof}", count=count, size=size, proof=proof)
    facts = {
        tr("received"): format_size(done.received),
        tr("folder"): str(done.folder),
        tr("manifest"): str(done.manifest),
        tr("log"): str(done.log),
    }
    return Group(_line(said + before), _lines(facts, "  "))


def _is_unverified(done: Downloaded) -> bool:
    listing = done.plan.listing
    return listing.source == "url" and all(file.etag is None for file in listing.files.values())


def download_json(done: Downloaded | DownloadPlan) -> str:
    """The same for programs."""
    plan = done.plan if isinstance(done, Downloaded) else done
    content = {
        "source": plan.listing.source,
        "model": plan.listing.model,
        "revision": plan.listing.revision,
        "folder": str(plan.listing.destination.folder),
        "size": plan.size,
        "to_fetch": plan.to_fetch,
        "free": plan.free,
        "files": [
            {
                "name": item.file.name,
                "size": item.file.size,
                "to_fetch": item.to_fetch,
                "state": item.state,
            }
            for item in plan.items
        ],
    }
    if isinstance(done, Downloaded):
        content |= {
            "received": done.received,
            "manifest": str(done.manifest),
            "log": str(done.log),
        }
    return json.dumps(content, indent=1)


def verification_text(done: Verification) -> RenderableType:
    """The files that are not right, and how many are."""
    lines = []
    for finding in done.findings:
        if finding.problem:
            marks = tr("repaired"), tr("damaged")
            mark = padded(marks[not finding.repaired], max(map(cells, marks)))
            lines.append(_line(f"{mark}  {finding.name}: {translated(finding.problem)}"))
    good = sum(not finding.problem or finding.repaired for finding in done.findings)
    size = format_size(sum(finding.size for finding in done.findings))
    said = tr(
        "{good} of {count} file(s) right, {size} hashed, by {against}",
        good=good,
        count=len(done.findings),
        size=size,
        against=translated(done.against),
    )
    lines.append(_line(said))
    return Group(*lines)


def verification_json(done: Verification) -> str:
    """The same for programs."""
    content = {
        "folder": str(done.folder),
        "against": done.against,
        "received": done.received,
        "files": [
            {
                "name": finding.name,
                "size": finding.size,
                "problem": finding.problem,
                "repaired": finding.repaired,
            }
            for finding in done.findings
        ],
    }
    return json.dumps(content, indent=1)


def _line(text: str) -> Text:
    return Text.from_markup(printable(text))

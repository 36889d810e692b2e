"""Downloads and verifications as text and JSON."""

from __future__ import annotations

import json

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlx_probe.core.units import format_size
from mlx_probe.library.download import Downloaded, DownloadPlan, Verification
from mlx_probe.report.terminal.text import printable

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
    table.add_column("file", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("to fetch", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for item in plan.items:
        size = "unknown" if item.file.size is None else format_size(item.file.size)
        table.add_row(printable(item.file.name), size, format_size(item.to_fetch), item.state)
    return table


def download_plan_text(plan: DownloadPlan) -> RenderableType:
    """How much would be fetched, to which folder, and whether it fits."""
    fits = "" if plan.to_fetch <= plan.free else ": too little"
    return Group(
        _line(f"model     {plan.listing.model} {plan.listing.revision}"),
        _line(f"to        {plan.listing.destination.folder}"),
        _line(f"size      {format_size(plan.size)}, to fetch {format_size(plan.to_fetch)}"),
        _line(f"free      {format_size(plan.free)}{fits}"),
    )


def download_text(done: Downloaded) -> RenderableType:
    """What was downloaded, and where it is."""
    count = len(done.plan.items)
    before = "" if done.received else ", nothing had to be fetched"
    proof = _UNVERIFIED if _is_unverified(done) else "all verified"
    return Group(
        _line(f"{count} file(s), {format_size(done.plan.size)}, {proof}{before}"),
        _line(f"  received  {format_size(done.received)}"),
        _line(f"  folder    {done.folder}"),
        _line(f"  manifest  {done.manifest}"),
        _line(f"  log       {done.log}"),
    )


# For a file without a published hash.
_UNVERIFIED = "length as the server says, no hash to verify; the manifest has the hash of each file"


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
            mark = "repaired" if finding.repaired else "damaged "
            lines.append(_line(f"{mark}  {finding.name}: {finding.problem}"))
    good = sum(not finding.problem or finding.repaired for finding in done.findings)
    size = format_size(sum(finding.size for finding in done.findings))
    lines.append(
        _line(f"{good} of {len(done.findings)} file(s) right, {size} hashed, by {done.against}")
    )
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

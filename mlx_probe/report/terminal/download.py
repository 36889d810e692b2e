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
    """The wanted files, and what is there of them."""
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
    """How much would be fetched, where to, and whether it fits."""
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
    proof = _UNPROVED if _is_unproved(done) else "all verified"
    return Group(
        _line(f"{count} file(s), {format_size(done.plan.size)}, {proof}{before}"),
        _line(f"  received  {format_size(done.received)}"),
        _line(f"  folder    {done.folder}"),
        _line(f"  manifest  {done.manifest}"),
        _line(f"  log       {done.log}"),
    )


# What there is to say of a file that nobody published a hash of.
_UNPROVED = "as long as the server says, but without a hash to verify; the manifest has what came"


def _is_unproved(done: Downloaded) -> bool:
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
    for found in done.findings:
        if found.problem:
            mark = "repaired" if found.repaired else "damaged "
            lines.append(_line(f"{mark}  {found.name}: {found.problem}"))
    good = sum(not found.problem or found.repaired for found in done.findings)
    size = format_size(sum(found.size for found in done.findings))
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
                "name": found.name,
                "size": found.size,
                "problem": found.problem,
                "repaired": found.repaired,
            }
            for found in done.findings
        ],
    }
    return json.dumps(content, indent=1)


def _line(text: str) -> Text:
    return Text.from_markup(printable(text))

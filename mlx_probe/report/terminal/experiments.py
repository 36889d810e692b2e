"""Runs of the catalog as text for a terminal: a list, one run, what a scan found."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from mlx_probe.core.counts import runs_text
from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.library.experiments import RunScan, StoredRun
from mlx_probe.library.experiments.directions import main_metric
from mlx_probe.report.terminal.listing import Heading, Listing
from mlx_probe.report.terminal.plain import one_line

__all__ = [
    "SHORT_ID",
    "complaints",
    "facts_grid",
    "number_text",
    "run_text",
    "runs_list",
    "scan_text",
]

# Characters of an id in a list: `resolve_run` takes 4 and more.
SHORT_ID = 8
# Entries of a long list that are shown.
_MOST = 20
# Columns of a terminal that the wide table needs.
_WIDE = 110
_LONGEST = 60


def runs_list(runs: Sequence[StoredRun], metrics: Sequence[str], width: int) -> RenderableType:
    """A line for each run; more columns where they fit.

    Args:
        runs: In the order to show.
        metrics: Names of the metrics that get a column each; without any, each run shows the
            number that says most about it.
        width: Columns of the terminal.
    """
    is_wide = width >= _WIDE
    tagged = any(run.tags for run in runs)
    headings = [
        Heading(tr("id")),
        Heading(tr("kind")),
        Heading(tr("run")),
        *([Heading(tr("model"))] if is_wide else []),
        Heading(tr("state")),
        Heading(tr("made")),
        *([Heading(name, is_number=True) for name in metrics] or [Heading(tr("result"))]),
        *([Heading(tr("tags"))] if tagged else []),
    ]
    table = Listing(headings)
    states, gone = {run.state: translated(run.state) for run in runs}, tr("gone")
    for run in runs:
        state = gone if run.missing else states[run.state]
        numbers = (
            [number_text(run.metrics.get(name)) for name in metrics] if metrics else [_result(run)]
        )
        cells = [
            run.id[:SHORT_ID],
            run.kind,
            _cut(run.name),
            *([_cut(run.models)] if is_wide else []),
            state,
            run.created_at[: 16 if is_wide else 10].replace("T", " "),
            *numbers,
            *([" ".join(run.tags)] if tagged else []),
        ]
        table.rows.append([one_line(cell) for cell in cells])
    return Group(table, runs_text(len(runs)))


def scan_text(scan: RunScan) -> str:
    """Counts of a scan, and what it could not read; markup."""
    lines = [
        tr(
            "{new} new, {changed} changed, {moved} moved, {same} as before, {gone} gone",
            new=len(scan.added),
            changed=len(scan.changed),
            moved=len(scan.moved),
            same=scan.unchanged,
            gone=len(scan.missing),
        )
    ]
    for folder in scan.searched:
        lines.append("  " + tr("looked through {folder}", folder=_markup(str(folder))))
    if not scan.searched:
        lines.append("  " + tr("there is nothing to look through: name folders that hold runs"))
    # Most reasons begin with the path.
    damaged = [(str(at), why.removeprefix(f"{at} ")) for at, why in scan.damaged]
    lines += complaints(tr("cannot be read"), damaged)
    lines += complaints(tr("left out"), [(str(at), why) for at, why in scan.troubles])
    lines += complaints(tr("gone"), [(str(at), "") for at in scan.missing])
    return "\n".join(lines)


def run_text(run: StoredRun) -> RenderableType:
    """All that is known about one run."""
    facts = {
        tr("id"): run.id,
        tr("kind"): run.kind,
        tr("run"): run.name,
        tr("state"): state_text(run),
        tr("made"): run.created_at,
        tr("seconds"): "" if run.seconds is None else number_text(run.seconds),
        tr("folder"): str(run.folder),
        tr("came from"): "\n".join(_input_line(given) for given in run.inputs),
        tr("wrote"): "\n".join(run.outputs),
        tr("version"): str(run.facts.get("version", "")),
        tr("code"): str(run.facts.get("code", "")),
        tr("command"): " ".join(map(str, run.facts.get("command", []))),
        tr("ran in"): str(run.facts.get("working_folder", "")),
        tr("tags"): " ".join(run.tags),
        tr("note"): run.note,
    }
    parts: list[RenderableType] = [facts_grid(facts)]
    for title, values in (
        (tr("Results"), {name: number_text(value) for name, value in run.metrics.items()}),
        (tr("Configuration"), {name: value_text(value) for name, value in run.config.items()}),
    ):
        if values:
            parts += ["", f"[bold]{escape(title)}[/]", facts_grid(values, indent=True)]
    return Group(*parts)


def state_text(run: StoredRun) -> str:
    """The state of a run, and why it is damaged or where it has gone."""
    state = translated(run.state)
    reasons = [translated(run.reason)] if run.reason else []
    if run.token:
        reasons.append(tr("in the bin"))
    elif run.missing:
        reasons.append(tr("its folder is gone"))
    return f"{state}: {enumerated(reasons)}" if reasons else state


def facts_grid(facts: dict[str, str], indent: bool = False) -> Table:
    """Names and texts in two columns; empty texts are left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style=None if indent else "bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in facts.items():
        if text:
            lines = "\n".join(map(_markup, text.split("\n")))
            table.add_row(f"{'  ' if indent else ''}{_markup(name)}", lines)
    return table


def number_text(value: float | None) -> str:
    """A number as tables show it: five digits, whole numbers with all of theirs."""
    if value is None:
        return "-"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.5g}"


def value_text(value: object) -> str:
    """A setting as tables show it, as YAML has it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def complaints(what: str, entries: Sequence[tuple[str, str]]) -> list[str]:
    """Lines about paths with which something is the matter, as markup.

    Args:
        what: What is the matter with all of them.
        entries: Paths, and why; "" for no reason.
    """
    lines = [
        f"[yellow]{escape(what)}[/] {_markup(at)}{': ' if why else ''}{_markup(translated(why))}"
        for at, why in entries[:_MOST]
    ]
    if len(entries) > _MOST:
        more = tr("and {count} more", count=len(entries) - _MOST)
        lines.append(f"[yellow]{escape(what)}[/] {more}")
    return lines


def _result(run: StoredRun) -> str:
    name = main_metric(run.metrics)
    return f"{name} {number_text(run.metrics[name])}" if name else "-"


def _input_line(given: object) -> str:
    known = dict(given) if isinstance(given, dict) else {}
    revision = f" {known['revision'][:12]}" if known.get("revision") else ""
    path = known.get("path", "")
    where = f" ({path})" if path and path != known.get("name") else ""
    return f"{known.get('role', '')}: {known.get('name', '')}{revision}{where}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _markup(text: str) -> str:
    return escape(one_line(text))

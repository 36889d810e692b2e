"""A series as text: what was measured, and what happened when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.analysis.series.result import SeriesResult
from mlx_probe.analysis.series.states import StepState
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.series_data import series_sentences
from mlx_probe.report.terminal.findings import STYLES, severity_word
from mlx_probe.report.terminal.text import printable

__all__ = ["series_text"]

# Findings, and checkpoints that are skipped or left out; the page and --json have all.
_MOST_FINDINGS, _MOST_SKIPPED = 16, 5


def series_text(result: SeriesResult) -> RenderableType:
    """A series for a terminal.

    Args:
        result: What a call did.
    """
    parts: list[RenderableType] = [printable(line) for line in _lines(result)]
    parts += ["", f"[bold]{printable(tr('What happened when'))}[/]"]
    findings, sentences = result.meta["findings"], series_sentences(result.meta)
    if len(result.meta["steps"]) < 5:
        parts.append(f"  {printable(tr('Fewer than 5 checkpoints do not show what is usual.'))}")
    elif not findings:
        parts.append(f"  {printable(tr('Nothing: no column of any tensor jumps or has a trend.'))}")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    pairs = list(zip(findings, sentences, strict=True))
    for finding, sentence in pairs[:_MOST_FINDINGS]:
        severity = finding["severity"]
        word = f"[{STYLES[severity]}]{printable(severity_word(severity))}[/]"
        table.add_row(f"  {word}", printable(sentence))
    if pairs:
        parts.append(table)
    left = len(pairs) - _MOST_FINDINGS
    if left > 0:
        parts.append(printable(tr("  and {count} more, in the page", count=left)))
    names = [*result.meta["outputs"], "report.html", "run_meta.json"]
    parts += [printable(f"  {result.folder / name}") for name in names]
    return Group(*parts)


def _lines(result: SeriesResult) -> Iterator[str]:
    """How many checkpoints, and which are not measured."""
    steps = [int(step) for step in result.meta["steps"]]
    measured = [state for state in result.states if state.state == "measured"]
    yield tr(
        "{count} checkpoints, steps {first} to {last}: {new} measured now in {seconds} s, {before} "
        "before",
        count=len(steps),
        first=f"{steps[0]:,}",
        last=f"{steps[-1]:,}",
        new=len(measured),
        seconds=f"{sum(state.seconds for state in measured):.1f}",
        before=len(steps) - len(measured),
    )
    skipped = [state for state in result.states if state.state == "skipped"]
    yield from _listed(skipped)
    for name, reason in result.left_out[:_MOST_SKIPPED]:
        yield tr("left out: {name}: {reason}", name=name, reason=translated(reason))
    left = len(result.left_out) - _MOST_SKIPPED
    if left > 0:
        yield tr("left out: {count} more", count=left)


def _listed(skipped: Sequence[StepState]) -> Iterator[str]:
    for state in skipped[:_MOST_SKIPPED]:
        yield tr(
            "skipped until the next call: step {step}: {reason}",
            step=f"{state.step:,}",
            reason=translated(state.reason),
        )
    if len(skipped) > _MOST_SKIPPED:
        yield tr("skipped until the next call: {count} more", count=len(skipped) - _MOST_SKIPPED)

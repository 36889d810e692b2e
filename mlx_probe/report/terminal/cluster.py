"""The workers of a cluster as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.analysis.cluster.survey import Survey, Surveyed
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.text import printable

__all__ = ["survey_text"]


def survey_text(survey: Survey) -> RenderableType:
    """A line for each worker, then what is wrong, what is unlike, and how many may take part."""
    parts: list[RenderableType] = [_table(survey)] if survey.workers else []
    parts += _refusals(survey)
    parts += [f"[yellow]{printable(translated(text))}[/]" for text in survey.cautions]
    if survey.unlike:
        parts += [f"[yellow]{printable(translated(text))}[/]" for text in survey.unlike]
        parts.append(
            tr("Rows of unlike workers agree within the stated bounds; last digits may differ.")
        )
    fit = [each.worker for each in survey.workers if each.problem is None]
    parts.append(
        tr(
            "{fit} of {count} workers may take part; weights at once: {threads}",
            fit=len(fit),
            count=len(survey.workers),
            threads=sum(worker.nthreads for worker in fit),
        )
    )
    if survey.model is not None and fit:
        parts.append(
            tr("their copies of {model} are the same as here", model=printable(survey.model))
        )
    return Group(*parts)


def _table(survey: Survey) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in (tr("worker"), tr("host"), "mlx-probe", "Python", tr("computes with")):
        table.add_column(name, overflow="fold")
    rates = (tr("copy\nGB/s"), tr("product\nGFLOP/s"))
    for name in (tr("cores"), tr("memory"), "MEMORY", tr("threads"), *rates):
        table.add_column(name, justify="right", no_wrap=True)
    for each in survey.workers:
        cells = (printable(cell) for cell in _cells(each))
        table.add_row(*cells, style="red" if each.problem else None)
    return table


def _cells(each: Surveyed) -> Iterator[str]:
    worker, facts = each.worker, each.facts
    yield worker.name
    yield worker.host
    if facts is None:
        yield from ("", "", "", "", "")
    else:
        yield facts.code_version
        yield facts.python
        yield f"{facts.backend} ({facts.device})" if facts.backend else ""
        yield str(facts.cores)
        yield format_size(facts.memory)
    yield "" if worker.memory is None else format_size(worker.memory)
    yield str(worker.nthreads)
    rates = facts.calibration if facts is not None and facts.calibration else {}
    for name in ("copy_bandwidth", "product_rate"):
        rate = rates.get(name)
        yield "" if rate is None else f"{rate / 1e9:.1f}"


def _refusals(survey: Survey) -> Iterator[RenderableType]:
    for each in survey.refused:
        fact, remedy = map(translated, each.problem or ("", ""))
        label = printable(translated(each.worker.label))
        yield f"[bold red]{tr('refused')}[/] {label}: {printable(fact)}"
        yield f"  [cyan]{printable(remedy)}[/]"

"""The page of any number of runs: their table, metrics over the relative depth, settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.compare_runs import Difference, Group, RunsTable, TableMetric
from mlx_probe.analysis.typical import with_typical_texts
from mlx_probe.core.counts import runs_text
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.records import Column
from mlx_probe.metrics import METRICS
from mlx_probe.report.html.encoding import encode_frame, encode_numbers
from mlx_probe.report.html.frame import filled_page
from mlx_probe.report.html.markup import html_text, part
from mlx_probe.report.html.sections import fact_list, grid
from mlx_probe.report.html.sections import table as html_table

__all__ = ["SCRIPTS", "runs_html"]

SCRIPTS = ("text", "data", "address", "theme", "tips", "save", "rows", "grid", "runs")
# Metrics that the table shows at first; all others are among its columns.
_SHOWN = 8
# Names below the page's title.
_MODELS = 4


def runs_html(table: RunsTable) -> str:
    """Runs side by side as one HTML page that loads nothing; see `report_html`.

    Args:
        table: The runs, with every metric and group that can be chosen in the page.
    """
    title = runs_text(len(table.readable))
    sections = {
        "model": tr("Runs"),
        "profiles": tr("Over the relative depth"),
        "table": tr("Table"),
        "run": tr("Settings"),
    }
    return filled_page(
        _payload(table, title),
        SCRIPTS,
        title=title,
        subtitle=_models(table),
        sections=sections,
        heading=html_text(sections["model"]),
        model_facts=fact_list(_facts(table)),
        panels=part("panel_profiles.html"),
        table_heading=html_text(tr("All runs")),
        grid=grid("params", "table"),
        sides="",
        run_heading=html_text(tr("Settings that differ")),
        run=_differences(table) + _unreadable(table),
    )


def _models(table: RunsTable) -> str:
    """The first models; the table has all of them."""
    names = list(dict.fromkeys(run.model for run in table.readable))
    return ", ".join([*names[:_MODELS], *(["..."] if len(names) > _MODELS else [])])


def _payload(table: RunsTable, title: str) -> dict[str, Any]:
    """What the script draws: see `run_payload` for "runs", whose only table is that of the runs.

    "run_names": in the order of the table. "bins", "groups" (key and title). "profiles": for each
    metric and group with numbers the runs' medians after each other, runs x bins.
    """
    frame = _frame(table)
    metrics = [metric.name for metric in table.metrics]
    identity = [name for name in ("run", "layers", "differs") if frame[name].notna().any()]
    filled = [name for name in metrics if frame[name].notna().any()]
    rows: dict[str, Any] = {
        "rows": len(frame),
        "columns": encode_frame(frame, _columns(table)),
        "shown": [*identity, *filled[:_SHOWN]],
        "map": None,
    }
    groups = list(table.groups)
    return {
        "runs": [
            {
                "name": title,
                "compare": False,
                "tables": {"params": rows},
                "groups": [],
                "group_names": [],
                "outliers": [],
                "spectra": None,
                "quantization": [],
            }
        ],
        "pairs": None,
        "run_names": [run.label for run in table.readable],
        "bins": table.bins,
        "groups": [
            {"key": f"{group.by}:{group.name}", "title": _group_title(group)} for group in groups
        ],
        "profiles": [
            {"metric": name, "group": groups.index(group), **_profile(table, name, group)}
            for name in filled
            for group in table.profile_groups(name)
        ],
    }


def _frame(table: RunsTable) -> pd.DataFrame:
    """The table of the runs that could be read: identity, and a column for each metric."""
    runs = table.readable
    columns: dict[str, Any] = {
        "run": [run.label for run in runs],
        "model": [run.model for run in runs],
        "revision": [run.revision for run in runs],
        "created_at": [run.created_at for run in runs],
        "layers": pd.array([run.layers for run in runs], dtype="Int64"),
        "differs": [", ".join(run.differs) or None for run in runs],
        "path": [run.path for run in runs],
    }
    for metric in table.metrics:
        values = [run.values.get(metric.name) for run in runs]
        if all(value is None or isinstance(value, int) for value in values):
            # Counts are shown with all their digits.
            columns[metric.name] = pd.array(values, dtype="Int64")
        else:
            columns[metric.name] = np.array([np.nan if v is None else v for v in values], float)
    frame: pd.DataFrame = pd.DataFrame(columns)
    return frame


def _columns(table: RunsTable) -> list[Column]:
    """What is known of the columns; those that are not comparable are marked."""
    of_runs = with_typical_texts(table_columns([metric.column for metric in METRICS]), "params")
    known = {column.name: column for column in of_runs}
    titles = {column.name: column.title for column in of_runs if column.title}
    own = [
        _own("run", tr("Run"), tr("A name that no other run has.")),
        _own("model", tr("Model"), tr("Name of the model.")),
        _own("revision", tr("Revision"), tr("Exact revision of the model.")),
        _own("created_at", tr("Made"), tr("When the run ended.")),
        _own("layers", tr("Layers"), tr("Number of layers of the model.")),
        _own("differs", tr("Differs in"), tr("Settings in which the run is not like most.")),
        _own("path", tr("Path"), tr("The run's run_meta.json.")),
    ]
    return [*own, *(_column(metric, known.get(metric.name), titles) for metric in table.metrics)]


def _own(name: str, title: str, about: str) -> Column:
    return Column(name, "string", "run", about, title=title)


def _summary_title(name: str, titles: Mapping[str, str]) -> str:
    """The heading of a number of the models' summaries.

    Args:
        name: As in `summary_names`.
        titles: Of the columns of runs.
    """
    own = {
        "parameters": tr("Parameters"),
        "matrices": tr("Matrices in the means"),
        "log_norm": tr("Mean log10 of the squared Frobenius norm"),
        "alpha_weighted": tr("Mean weighted alpha"),
        "log_spectral_norm": tr("Mean log10 of the squared spectral norm"),
        "reliable_share": tr("Share of reliable fits"),
        "rank_deficient": tr("Matrices of less than full rank"),
        "rank_share": tr("Mean rank / short side"),
        "effective_rank_share": tr("Mean effective rank / short side"),
        "noise_share": tr("Mean share of noise"),
        "mean_alpha": tr("Mean alpha as WeightWatcher fits it"),
        "mean_alpha_reliable": tr("Mean alpha of the reliable fits"),
    }
    if name in own:
        return own[name]
    if name.startswith("parameters_"):
        return tr("Parameters: {part}", part=name.removeprefix("parameters_"))
    column = name.removeprefix("mean_")
    if column == name or column not in titles:
        return name
    return tr("{column}, mean", column=translated(titles[column]))


def _column(metric: TableMetric, known: Column | None, titles: Mapping[str, str]) -> Column:
    if metric.source == "summary" or known is None:
        about = tr("A number of the model's summary.")
        title = _summary_title(metric.name, titles)
        column = Column(metric.name, "float64", "summary", about, title=title)
    else:
        column = known
    if not metric.marked_by:
        return column
    return replace(column, title=f"{translated(column.title or column.name)} *")


def _profile(table: RunsTable, metric: str, group: Group) -> Mapping[str, str]:
    empty = (None,) * table.bins
    lines = [run.profiles.get(metric, {}).get(group, empty) for run in table.readable]
    numbers = [np.nan if value is None else value for line in lines for value in line]
    return encode_numbers(np.array(numbers, float))


def _group_title(group: Group) -> str:
    if group.by == "all":
        return tr("all matrices in the layers")
    kind = tr("component") if group.by == "component" else tr("block type")
    return f"{kind}: {group.name}"


def _facts(table: RunsTable) -> dict[str, str]:
    """What the numbers of the page are."""
    medians = all(metric.source == "median" for metric in table.metrics)
    facts = {
        tr("runs"): str(len(table.readable)),
        tr("sorted by"): table.sort,
        tr("numbers"): tr("medians over the matrices of a run")
        if medians
        else tr("of the models' summaries, or else medians over the matrices of a run"),
        tr("relative depth"): tr("layer / (layers - 1), in {bins} bins", bins=table.bins),
    }
    if table.reference is not None:
        label = next(run.label for run in table.runs if run.path == table.reference)
        facts[tr("divided by")] = label
    return facts


def _differences(table: RunsTable) -> str:
    """Which runs have which value of what differs, and what that means."""
    if not table.differences:
        return f'<p class="note">{html_text(tr("All settings that decide numbers agree."))}</p>'
    heads = (tr("setting"), tr("values"), tr("marked with *"), tr("what it means"))
    head = "".join(f'<th scope="col">{html_text(text)}</th>' for text in heads)
    rows = (_difference(difference) for difference in table.differences)
    return html_table(tr("Settings that differ"), head, rows)


def _difference(difference: Difference) -> str:
    values = "; ".join(f"{value}: {', '.join(labels)}" for value, labels in difference.values)
    marked = ", ".join(difference.metrics) or tr("none")
    cells = (values, marked, translated(difference.meaning))
    texts = "".join(f'<td class="wrap">{html_text(cell)}</td>' for cell in cells)
    return f'<tr><th scope="row">{html_text(difference.setting)}</th>{texts}</tr>'


def _unreadable(table: RunsTable) -> str:
    items = "".join(
        f"<li>{html_text(translated(run.problem))}. {html_text(translated(run.remedy))}</li>"
        for run in table.runs
        if run.problem
    )
    heading = html_text(tr("Not in the table, because they cannot be read:"))
    return f"<h3>{heading}</h3><ul>{items}</ul>" if items else ""

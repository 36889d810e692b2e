"""The report as text: facts about the model, lines over its layers, outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.analysis.side_tables import SIDES, Side
from mlx_probe.core.counts import tensors_text
from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.report.facts import model_facts, title_of
from mlx_probe.report.numbers import floats
from mlx_probe.report.outliers import (
    Outlier,
    count_kinds,
    find_outliers,
    sample_note,
    unreliable_fits,
)
from mlx_probe.report.run_data import RunData, group_labels, metric_names
from mlx_probe.report.summary import summary_facts
from mlx_probe.report.terminal.findings import findings_text
from mlx_probe.report.terminal.sparkline import blocks_for, sparkline
from mlx_probe.report.terminal.text import printable

__all__ = ["default_metrics", "profile_text"]

# Columns that are drawn unless the user chooses, if the run has them.
_DEFAULT = ("relative_change", "delta_effective_rank", "cosine", "stable_rank", "effective_rank")
_DEFAULT_ELSE = ("std", "kurtosis", "rank")
_MOST_DEFAULT = 3
_BITS = ("q4_nrmse", "q8_nrmse")
_MOST_OUTLIERS = 15
_MOST_REASONS = 3


def default_metrics(data: RunData) -> list[str]:
    """Columns to draw when the user chooses none: at most three that the run has."""
    names = metric_names(data.frame)
    wanted = [name for name in (*_DEFAULT, *_DEFAULT_ELSE) if name in names]
    return (wanted or names)[:_MOST_DEFAULT]


def profile_text(
    data: RunData, metrics: Sequence[str], width: int, encoding: str
) -> RenderableType:
    """A run for a terminal.

    Args:
        data: The run.
        metrics: Columns of numbers to draw over the layers.
        width: Characters of a line.
        encoding: Of the terminal; if it lacks block characters, ASCII ones are used.
    """
    blocks = blocks_for(encoding)
    facts = Table.grid(padding=(0, 2))
    for name, text in model_facts(data).items():
        facts.add_row(printable(name), printable(text))
    if data.summary is not None:
        for name, text in summary_facts(data.summary).items():
            facts.add_row(printable(name), printable(text))
    parts: list[RenderableType] = [printable(title_of(data)), "", facts]
    if data.findings is not None:
        parts += ["", findings_text(data.findings, of_sample=bool(data.meta.get("sample")))]
    for name in metrics:
        parts += ["", *_weight_profile(data, name, width, blocks)]
    for key, frame in data.sides.items():
        of_sample = bool(data.meta.get("sample"))
        parts += _side_profiles(SIDES[key], frame, width, blocks, of_sample)
    outliers = find_outliers(data.frame)
    parts += ["", *_outliers(data, outliers)]
    sensitive = [name for name in _BITS if name in metric_names(data.frame)]
    for name in sensitive:
        if name not in metrics:
            parts += ["", *_weight_profile(data, name, width, blocks)]
    if sensitive:
        parts += ["", _most_sensitive(data, sensitive[0])]
    return Group(*parts)


def _weight_profile(data: RunData, name: str, width: int, blocks: str) -> list[RenderableType]:
    groups = group_labels(data.frame)
    return _profile(data.frame, name, groups, tr("block type"), width, blocks)


def _side_profiles(
    side: Side, frame: pd.DataFrame, width: int, blocks: str, of_sample: bool
) -> list[RenderableType]:
    """The columns of a side table that are to be drawn and have numbers."""
    parts: list[RenderableType] = []
    filled = metric_names(frame)
    if side.group is None or side.group not in frame:
        label, groups = "", ["all"] * len(frame)
    else:
        label, groups = side.group.replace("_", " "), group_labels(frame, side.group)
    for name in side.profile:
        if name in filled:
            heading, *rest = _profile(frame, name, groups, label, width, blocks)
            title = printable(translated(side.title))
            if of_sample:
                title = tr("{what}, of the sample", what=title)
            parts += ["", tr("{title}: {heading}", title=title, heading=heading), *rest]
    return parts


def _profile(
    frame: pd.DataFrame, name: str, groups: Sequence[str], label: str, width: int, blocks: str
) -> list[RenderableType]:
    """A line of characters for each group, with its range.

    Args:
        frame: Rows.
        name: Column of numbers.
        groups: The group of each row.
        label: What the groups are.
        width: Characters of a line of the terminal.
        blocks: Characters, low to high.
    """
    lines = _by_layer(frame, name, groups)
    layers = max((len(values) for values, _ in lines.values()), default=0)
    each = max(1, -(-layers // max(8, width - 48)))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(label, no_wrap=True, max_width=18)
    where = tr("layers 0 to {last}", last=layers - 1) if layers else tr("layers")
    table.add_column(where, no_wrap=True)
    for end in (tr("min"), tr("median"), tr("max")):
        table.add_column(end, justify="right", no_wrap=True)
    for group, (values, everything) in lines.items():
        inside = not np.isnan(values).all()
        drawn = sparkline(_binned(values, each), blocks) if inside else tr("outside the layers")
        ends = (everything.min(), np.median(everything), everything.max())
        table.add_row(printable(group), printable(drawn), *(f"{end:.4g}" for end in ends))
    note = tr(" (a character for {count} layers, their median)", count=each) if each > 1 else ""
    return [tr("{metric} by layer", metric=printable(name)) + note, table]


def _by_layer(
    frame: pd.DataFrame, name: str, groups: Sequence[str]
) -> Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """For each group the median in every layer, NaN where it has none, and all values."""
    values, labels = floats(frame, name), np.array(groups, dtype=object)
    layers = floats(frame, "layer_index") if "layer_index" in frame else np.full(len(frame), np.nan)
    count = int(np.nanmax(layers)) + 1 if np.isfinite(layers).any() else 0
    lines = {}
    for group in dict.fromkeys(groups):
        own = (labels == group) & ~np.isnan(values)
        if not own.any():
            continue
        line = np.full(count, np.nan)
        for layer in np.unique(layers[own & np.isfinite(layers)]):
            line[int(layer)] = np.median(values[own & (layers == layer)])
        lines[group] = (line, values[own])
    return lines


def _binned(values: NDArray[np.float64], each: int) -> NDArray[np.float64]:
    """Medians of ``each`` values after another, NaN where there are none."""
    if each == 1:
        return values
    bins = (values[at : at + each] for at in range(0, len(values), each))
    return np.array(
        [np.median(own) if len(own := part[~np.isnan(part)]) else np.nan for part in bins]
    )


def _outliers(data: RunData, outliers: Sequence[Outlier]) -> list[RenderableType]:
    notes = [note for note in (sample_note(data.meta), unreliable_fits(data.frame)) if note]
    if not outliers:
        return [tr("no outliers"), *notes]
    kinds = {
        "status": tr("status"),
        "rank": tr("rank"),
        "deviation": tr("deviation"),
        "fit": tr("fit"),
    }
    counts = enumerated(f"{kinds[kind]} {count}" for kind, count in count_kinds(outliers).items())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(tr("tensor"), overflow="fold", ratio=2)
    table.add_column(tr("reasons"), overflow="fold", ratio=3)
    for outlier in outliers[:_MOST_OUTLIERS]:
        reasons = [printable(reason.text) for reason in outlier.reasons[:_MOST_REASONS]]
        if len(outlier.reasons) > _MOST_REASONS:
            reasons.append(tr("and {count} more", count=len(outlier.reasons) - _MOST_REASONS))
        table.add_row(_label(data, outlier.row), "\n".join(reasons))
    rest = len(outliers) - _MOST_OUTLIERS
    more = [tr("and {count} more, in the HTML report", count=rest)] if rest > 0 else []
    heading = tr(
        "outliers: {tensors} ({counts})", tensors=tensors_text(len(outliers)), counts=counts
    )
    return [heading, table, *more, *notes]


def _most_sensitive(data: RunData, name: str) -> RenderableType:
    values = floats(data.frame, name)
    order = [row for row in np.argsort(-values, kind="stable") if np.isfinite(values[row])][:5]
    lines = [f"{values[row]:.4g}  {_label(data, int(row))}" for row in order]
    return "\n".join(
        [
            tr("most sensitive by {metric}:", metric=printable(name)),
            *(f"  {line}" for line in lines),
        ]
    )


def _label(data: RunData, row: int) -> str:
    """A tensor's name, with its expert and part."""
    values = data.frame.iloc[row]
    name = values["param_name"]
    # Rows of a comparison that only the second model has.
    text = str(values["other_name"] if pd.isna(name) and "other_name" in values else name)
    for column, form in (("expert_index", "[{}]"), ("part", " ({})")):
        if column in values and not pd.isna(values[column]):
            text += form.format(values[column])
    return printable(text)

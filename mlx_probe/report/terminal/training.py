"""Training runs as text: what happened, curves as lines of characters, metrics over the steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlx_probe.analysis.training.outcome import outcome_texts
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.report.numbers import floats
from mlx_probe.report.run_data import group_labels
from mlx_probe.report.terminal.answers import comparison_text
from mlx_probe.report.terminal.compare import changes_text
from mlx_probe.report.terminal.plain import one_line
from mlx_probe.report.terminal.sparkline import blocks_for, sparkline
from mlx_probe.report.terminal.text import grid, printable
from mlx_probe.report.training_data import TrainingData, snapshot_metrics
from mlx_probe.report.training_facts import differing_settings, result_facts, training_facts
from mlx_probe.report.training_series import envelope, with_train_bpb

__all__ = ["chosen_metrics", "training_text"]

# Curves, in the order of the page.
_CURVES = (
    *("train_loss", "val_loss", "train_bpb", "val_bpb", "reward", "val_reward", "reward_std"),
    *("kl", "answer_tokens", "teacher_kl", "active_mean", "fallback"),
    *("learning_rate", "grad_norm", "tokens_per_second"),
)
# Metrics that are drawn unless the user chooses.
_USUAL = ("stable_rank", "effective_rank", "spectral_change")
_USUAL_OF_TUNING = ("relative_change", "delta_effective_rank", "intruder_count")
_SAMPLE_CHARACTERS = 300
# Characters of a curve, at most: a longer one is hard to take in.
_LONGEST = 100


def chosen_metrics(runs: Sequence[TrainingData], wanted: Sequence[str]) -> list[str]:
    """The columns to draw over the steps.

    Args:
        runs: The runs.
        wanted: Columns that the user names; empty for the usual ones.

    Raises:
        ConfigError: No run has numbers in a column.
    """
    known = dict.fromkeys(name for run in runs for name in snapshot_metrics(run.frame))
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"{runs[0].run.folder} has no snapshots with numbers in a column {name!r}",
                f"Choose from {', '.join(known) or 'another run'}",
            )
    return list(dict.fromkeys(wanted)) or [
        name for name in (*_USUAL, *_USUAL_OF_TUNING) if name in known
    ]


def training_text(
    runs: Sequence[TrainingData],
    metrics: Sequence[str],
    width: int,
    encoding: str,
    comparison: Mapping[str, Any] | None = None,
) -> RenderableType:
    """Training runs for a terminal.

    Args:
        runs: One run, or several.
        metrics: Columns of the snapshots to draw over the steps.
        width: Characters of a line.
        encoding: Of the terminal; if it lacks block characters, ASCII ones are used.
        comparison: What `compare_results` returned of the evaluations before and after.
    """
    blocks = blocks_for(encoding)
    parts: list[RenderableType]
    if len(runs) == 1:
        parts = list(_one(runs[0], metrics, width, blocks))
        if comparison is not None:
            parts += [tr("evaluation before and after"), Text(comparison_text(comparison))]
        return Group(*parts)
    parts = [tr("{count} training runs", count=len(runs)), ""]
    results = [result_facts(run) for run in runs]
    parts += [_beside(runs, results, list(dict.fromkeys(n for of in results for n in of))), ""]
    differ = differing_settings(runs)
    if differ[0]:
        parts += [tr("settings that differ"), _beside(runs, differ, list(differ[0])), ""]
    else:
        parts += [tr("all settings agree"), ""]
    for name in _CURVES:
        parts += _curve(runs, name, width, blocks)
    for run in runs:
        parts += ["", printable(run.label), *_sentences(run)]
    return Group(*parts)


def _one(
    run: TrainingData, metrics: Sequence[str], width: int, blocks: str
) -> Iterator[RenderableType]:
    yield printable(run.label)
    yield ""
    yield grid({name: printable(text) for name, text in training_facts(run).items()})
    yield ""
    yield from _sentences(run)
    yield ""
    yield tr("over the steps")
    table = _curve_table()
    for name in _CURVES:
        _add_curve(table, run, name, name, width, blocks)
    yield table
    if len(run.run.samples):
        sample = run.run.samples.iloc[-1]
        yield tr("sample at step {step}:", step=f"{sample['step']:,}")
        text = one_line(sample["prompt"] + sample["text"])[:_SAMPLE_CHARACTERS]
        yield Text(f"  {text}")
        yield ""
    for name in metrics:
        yield from _over_steps(run, name, width, blocks)
    if run.difference is not None:
        yield tr("differences from the base after step {step}", step=f"{run.difference.step:,}")
        yield changes_text(run.difference.rows)
        yield ""


def _sentences(run: TrainingData) -> Iterator[RenderableType]:
    for text in outcome_texts(run.outcome):
        yield Text(f"- {text.shown}")
    for statement in run.said:
        yield Text(f"- {one_line(statement.sentence.shown)}")


def _beside(
    runs: Sequence[TrainingData], facts: Sequence[dict[str, str]], names: Sequence[str]
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("", overflow="fold")
    for run in runs:
        table.add_column(printable(run.label), overflow="fold")
    for name in names:
        table.add_row(printable(name), *(printable(of.get(name, "")) for of in facts))
    return table


def _curve_table() -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    table.add_column(tr("first to last step"), no_wrap=True)
    for end in (tr("first"), tr("least"), tr("largest"), tr("last")):
        table.add_column(end, justify="right", no_wrap=True)
    return table


def _add_curve(
    table: Table, run: TrainingData, name: str, label: str, width: int, blocks: str
) -> None:
    """A line for a curve that the run has."""
    metrics = with_train_bpb(run.run.metrics, run.bytes_per_token)
    if name not in metrics:
        return
    values = metrics[name].to_numpy(float)
    values = values[~np.isnan(values)]
    if not len(values):
        return
    drawn = sparkline(envelope(values, max(8, min(_LONGEST, width - 64)))["mean"], blocks)
    ends = (values[0], values.min(), values.max(), values[-1])
    table.add_row(printable(label), drawn, *(f"{end:.4g}" for end in ends))


def _curve(
    runs: Sequence[TrainingData], name: str, width: int, blocks: str
) -> Iterator[RenderableType]:
    """A curve of each run that has it, below its name."""
    table = _curve_table()
    for run in runs:
        _add_curve(table, run, name, run.label, width, blocks)
    if table.row_count:
        yield printable(name)
        yield table


def _over_steps(run: TrainingData, name: str, width: int, blocks: str) -> Iterator[RenderableType]:
    """A line for each kind of tensor: the median over its layers at each snapshot."""
    frame = run.frame
    if name not in frame:
        return
    steps = run.steps
    values, kinds = floats(frame, name), np.array(group_labels(frame), dtype=object)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(tr("block type"), no_wrap=True, max_width=18)
    table.add_column(
        tr("steps {first} to {last}", first=steps[0], last=f"{steps[-1]:,}"), no_wrap=True
    )
    for end in (tr("first"), tr("last")):
        table.add_column(end, justify="right", no_wrap=True)
    each = max(1, -(-len(steps) // max(8, width - 48)))
    for kind in dict.fromkeys(kinds):
        line = _medians(values[kinds == kind], frame["step"].to_numpy()[kinds == kind], steps)
        known = line[np.isfinite(line)]
        if len(known):
            drawn = sparkline(line[::each], blocks)
            table.add_row(printable(str(kind)), drawn, f"{known[0]:.4g}", f"{known[-1]:.4g}")
    if table.row_count:
        yield tr("{metric} by snapshot, median over the layers", metric=printable(name))
        yield table


def _medians(
    values: NDArray[np.float64], at: NDArray[np.int64], steps: Sequence[int]
) -> NDArray[np.float64]:
    """The median of the values at each step; NaN where there is none."""
    parts = (values[(at == step) & ~np.isnan(values)] for step in steps)
    return np.array([np.median(part) if len(part) else np.nan for part in parts])

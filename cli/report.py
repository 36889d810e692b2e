"""`mlx-probe report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.units import format_size
from mlx_probe.runs.answers import is_evaluation
from mlx_probe.runs.load import locate_run
from mlx_probe.runs.training.folder import training_folder

from .command import Command
from .console import output
from .document import json_option, print_document
from .options import complete_metrics

__all__ = ["report"]


@click.command(
    cls=Command,
    examples=(
        "mlx-probe report data/outputs/Qwen--Qwen3-0.6B",
        "mlx-probe report data/outputs/Qwen--Qwen3-0.6B --terminal --metric stable_rank",
        "mlx-probe report ./tuned --before ./before --after ./after",
    ),
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("others", metavar="[RUN_B]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="The page.  [default: report.html beside the run; with two, their names beside the first]",
)
@click.option(
    "--before",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Of one run of tune or train: the --out of `mlx-probe evaluate` of the model before it.",
)
@click.option(
    "--after",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="The same of the model that came of it, on the same questions.",
)
@click.option("--terminal", is_flag=True, help="Print the report as text and write no page.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="COLUMN",
    shell_complete=complete_metrics,
    help="With --terminal: a column to draw over the layers, or over the steps; may be repeated.",
)
@json_option
def report(
    run: Path,
    others: tuple[Path, ...],
    out: Path | None,
    before: Path | None,
    after: Path | None,
    terminal: bool,
    metrics: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show a finished RUN of analyze or compare, or two side by side, or training runs.

    RUN is a run folder, its run_meta.json, or one of its tables; a model's folder means its
    latest run. The page is one HTML file that needs no network and nothing beside it: maps over
    the layers, spectra, outliers, every row, and how the run was made. Two runs share the page:
    maps with one colour scale, spectra in one plot, rows matched by name or role, settings that
    differ marked.

    Of training runs, also while they run, the page shows loss, samples, maps over steps and
    layers, spectra over the steps, and says in words what happened; the curves of several lie
    over each other.

    Of a tuning it also shows rewards, in what its snapshots differ from the base (rank, energy,
    intruder dimensions, layers that moved most), and with --before and --after how much better
    it got: metrics with intervals, the paired test, and the answers that changed.

    Of an evaluation that asked questions (the --out of `mlx-probe evaluate`) the page shows what
    went wrong, grouped by error.

    Of `moe stats` it shows maps of the experts, who works with whom, and a text token by token;
    of `moe signals` windows, experts and the map of blocks; of a graft its damage curve.

    Of a series (the --out of `mlx-probe series`) it shows what happened when, with a slider over
    the steps.

    --json prints where the page is; with --terminal, the numbers of the text instead of it.
    """
    if terminal and out is not None:
        raise ConfigError("--out names a page, and --terminal writes none", "Leave one out")
    if metrics and not terminal:
        raise ConfigError("--metric is for --terminal", "Choose metrics in the page itself")
    if (before is None) is not (after is None):
        raise ConfigError("--before and --after belong together", "Give both, or none")
    # pandas, half a second that no other command should pay.
    from mlx_probe.report.documents import page_document, profile_document
    from mlx_probe.report.html.alone import folder_of, kind_alone
    from mlx_probe.report.html.write import all_training, refuse_evaluations, write_report
    from mlx_probe.report.run_data import load_run_data, metric_names
    from mlx_probe.report.terminal.mixture import (
        sentences_document,
        sentences_of,
        sentences_text,
    )
    from mlx_probe.report.terminal.profile import default_metrics, profile_text

    console = output()
    runs = (run, *others)
    if terminal and is_evaluation(run):
        raise ConfigError(
            f"{run} is an evaluation, which --terminal does not show",
            "mlx-probe evaluate prints it; without --terminal there is a page",
        )
    alone = kind_alone(run) is not None
    if terminal and alone:
        if others or metrics:
            raise ConfigError(
                f"{run} has a page of its own, which --terminal says in words",
                "Name it alone, without --metric",
            )
        if as_json:
            print_document(sentences_document(run))
        else:
            console.print(sentences_text(sentences_of(run)))
        return
    trained = not alone and all_training(runs)
    comparison = None
    if before is not None and after is not None:
        refuse_evaluations(runs)
        comparison = _compared(before, after)
    if terminal and trained:
        _print_training(runs, metrics, as_json, comparison)
        return
    if terminal and others:
        raise ConfigError("--terminal shows one run", "Name one, or leave --terminal out")
    if terminal:
        data = load_run_data(run, ("sides", "findings"))
        names = metric_names(data.frame)
        for name in metrics:
            if name not in names:
                raise ConfigError(
                    f"{run} has no numbers in a column {name!r}",
                    f"Choose from {', '.join(names) or 'another run'}",
                )
        chosen = list(dict.fromkeys(metrics)) or default_metrics(data)
        if as_json:
            print_document(profile_document(locate_run(run), data, chosen))
        else:
            console.print(profile_text(data, chosen, console.width, console.encoding))
        return
    target = write_report(run, out, other=others, comparison=comparison)
    if as_json:
        named = [
            folder_of(each) if alone else training_folder(each) or locate_run(each) for each in runs
        ]
        print_document(page_document(named, target))
        return
    console.print(f"{target} ({format_size(target.stat().st_size)})", soft_wrap=True, markup=False)


def _compared(before: Path, after: Path) -> Mapping[str, Any]:
    """Two evaluations of the same questions, item by item."""
    from mlx_probe.lab.evaluate.comparison import compare_results
    from mlx_probe.report.before_after import read_before_after

    comparison = compare_results(before, after)
    # Refuses what has other questions as well.
    read_before_after(comparison)
    return comparison


def _print_training(
    runs: Sequence[Path],
    metrics: Sequence[str],
    as_json: bool,
    comparison: Mapping[str, Any] | None,
) -> None:
    """Training runs on the terminal, or as JSON."""
    from mlx_probe.report.terminal.training import chosen_metrics, training_text
    from mlx_probe.report.training_data import load_training_data
    from mlx_probe.report.training_document import training_document

    data = load_training_data(runs)
    chosen = chosen_metrics(data, metrics)
    if as_json:
        print_document(training_document(data, chosen, comparison))
        return
    console = output()
    console.print(training_text(data, chosen, console.width, console.encoding, comparison))

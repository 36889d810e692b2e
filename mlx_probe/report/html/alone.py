"""Pages of what stands alone: evaluations, a mixture's statistics or signals, grafts, series."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlx_probe.core.errors import ConfigError
from mlx_probe.report.graft_receipt import is_graft, read_graft
from mlx_probe.report.html.answers_page import answers_html
from mlx_probe.report.html.graft_page import graft_html
from mlx_probe.report.html.mixture_page import mixture_html
from mlx_probe.report.html.signals_page import signals_html
from mlx_probe.report.mixture_data import load_mixture
from mlx_probe.report.signals_data import load_signals
from mlx_probe.runs.answers import is_evaluation, read_evaluation
from mlx_probe.runs.load import locate_run
from mlx_probe.runs.mixture.folder import KIND as STATS
from mlx_probe.runs.mixture.read import kind_of
from mlx_probe.runs.mixture.signals import KIND as SIGNALS
from mlx_probe.runs.series import KIND as SERIES
from mlx_probe.runs.series import is_series

__all__ = ["folder_of", "kind_alone", "page_alone"]

AnyRun = str | os.PathLike[str]
_EVALUATION, _GRAFT = "evaluation", "graft"


def kind_alone(run: AnyRun) -> str | None:
    """What a path is, if it is of a kind that has a page alone.

    Returns:
        "evaluation", "graft", "series", "moe-stats" or "moe-signals"; None for any other run.
    """
    if is_evaluation(run):
        return _EVALUATION
    if is_graft(run):
        return _GRAFT
    if is_series(run):
        return SERIES
    found = kind_of(run)
    return found if found in (STATS, SIGNALS) else None


def page_alone(runs: Sequence[AnyRun]) -> Callable[[], str] | None:
    """What makes the page of one run that stands alone; None for other runs.

    Raises:
        ConfigError: There are others beside it.
    """
    kinds = [kind_alone(run) for run in runs]
    found = next((at for at, kind in enumerate(kinds) if kind is not None), None)
    if found is None:
        return None
    run, kind = Path(runs[found]), kinds[found]
    if len(runs) > 1 and kind == _EVALUATION:
        raise ConfigError(
            f"{run} is an evaluation, and a page has one of them",
            "mlx-probe evaluate --compare A B compares two",
        )
    if len(runs) > 1:
        raise ConfigError(
            f"{run} has a page of its own, and {len(runs)} runs are named",
            "Name it alone",
        )
    makers: Mapping[str, Callable[[], str]] = {
        _EVALUATION: lambda: answers_html(*read_evaluation(run)),
        _GRAFT: lambda: graft_html(read_graft(run), folder_of(run).resolve().name),
        SERIES: lambda: _series(run),
        STATS: lambda: mixture_html(load_mixture(run)),
        SIGNALS: lambda: signals_html(load_signals(run)),
    }
    return makers[str(kind)]


def _series(run: Path) -> str:
    """The page of a series."""
    # What the page of a training needs as well, which the other pages do not.
    from mlx_probe.report.html.series_page import series_html
    from mlx_probe.report.series_data import load_series

    return series_html(load_series(run))


def folder_of(run: AnyRun) -> Path:
    """The folder that a page of such a run is written to."""
    path = Path(run)
    if path.is_dir() and (is_evaluation(path) or is_graft(path) or is_series(path)):
        return path
    return path.parent if is_graft(path) or is_series(path) else locate_run(path).parent

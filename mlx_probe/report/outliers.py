"""Tensors that stand out among their kind, ranked, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlx_probe.analysis.robust import FEWEST, SAME, THRESHOLD, robust_z, spans_decades
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.numbers import floats
from mlx_probe.report.run_data import group_labels

__all__ = [
    "KINDS",
    "Outlier",
    "Reason",
    "count_kinds",
    "find_outliers",
    "rule_text",
    "sample_note",
    "unreliable_fits",
]

# One column for each property: std, var and rms would list the same tensor three times.
METRICS = (
    *("std", "mean", "abs_max", "skewness", "kurtosis", "sparsity", "bits_per_weight"),
    *("spectral_norm", "condition_number", "stable_rank", "effective_rank", "energy_rank_90"),
    *("top1_energy", "alpha", "mp_softrank", "spikes", "gd_rank"),
    *("q4_nrmse", "q8_nrmse", "outlier_columns", "outlier_rows"),
    *("relative_change", "cosine", "delta_rank", "delta_effective_rank", "delta_stable_rank"),
    *("left_overlap", "right_overlap", "intruder_count"),
)
# Most serious first: the rank of a tensor is that of its most serious reason.
KINDS = ("status", "rank", "deviation", "fit")


@dataclass(frozen=True)
class Reason:
    """Why a tensor is listed.

    Attributes:
        kind: One of `KINDS`.
        column: The column that the reason is about.
        text: The reason in words.
        size: How far out: robust z for a deviation, share of missing rank for a rank.
    """

    kind: str
    column: str
    text: str
    size: float


@dataclass(frozen=True)
class Outlier:
    """A tensor that stands out.

    Attributes:
        row: Its position in the table.
        reasons: Why, most serious first.
    """

    row: int
    reasons: tuple[Reason, ...]


def rule_text() -> str:
    """Why a tensor is listed, in words."""
    return tr(
        "A tensor is listed for: a status other than ok, empty, scalar or unsampled; a rank below "
        "the short side; a value more than {threshold} robust standard deviations from the median "
        "of the tensors of its block type, biases and parts of fused matrices apart (deviation = "
        "1.4826 MAD; where more than half are equal, 1.2533 mean absolute deviations; columns that "
        "span two decades are compared by logarithm; block types of at least {fewest} tensors; "
        "alpha only of reliable fits); a power-law fit that is not reliable where most of its "
        "block type are. Spikes, singular values above the noise edge, are in every trained "
        "matrix, so their number is listed where it deviates. In this order, and within it by "
        "size.",
        threshold=f"{THRESHOLD:g}",
        fewest=FEWEST,
    )


def find_outliers(frame: pd.DataFrame) -> list[Outlier]:
    """Tensors that stand out by `rule_text`, most serious first.

    Args:
        frame: A run's rows; columns that it lacks give no reasons.
    """
    reasons: dict[int, list[Reason]] = {}
    groups = np.array(group_labels(frame), dtype=object)
    for row, reason in (*_states(frame), *_deviations(frame, groups), *_fits(frame, groups)):
        reasons.setdefault(row, []).append(reason)
    outliers = [Outlier(row, tuple(sorted(of, key=_order))) for row, of in reasons.items()]
    return sorted(outliers, key=lambda outlier: (*_order(outlier.reasons[0]), outlier.row))


def _order(reason: Reason) -> tuple[int, float]:
    return KINDS.index(reason.kind), -reason.size


def _states(frame: pd.DataFrame) -> list[tuple[int, Reason]]:
    reasons = []
    if "status" in frame:
        # The last is of comparisons: no difference is no problem.
        fine = ("ok", "empty", "scalar", "unsampled", "identical")
        whys = frame["status_reason"] if "status_reason" in frame else frame["status"]
        for row, (status, why) in enumerate(zip(frame["status"], whys, strict=True)):
            if pd.notna(status) and status not in fine:
                text = (
                    str(status)
                    if pd.isna(why) or why == status
                    else f"{status}: {translated(str(why))}"
                )
                reasons.append((row, Reason("status", "status", text, 1.0)))
    if {"rank", "rows", "cols"} <= set(frame.columns):
        rank = floats(frame, "rank")
        full = np.fmin(floats(frame, "rows"), floats(frame, "cols"))
        for row in map(int, np.flatnonzero(rank < full)):
            text = tr("rank {rank} of {full}", rank=f"{rank[row]:.0f}", full=f"{full[row]:.0f}")
            reasons.append((row, Reason("rank", "rank", text, float(1 - rank[row] / full[row]))))
    return reasons


def _deviations(frame: pd.DataFrame, groups: NDArray[np.object_]) -> list[tuple[int, Reason]]:
    reasons = []
    for name in METRICS:
        if name not in frame or not pd.api.types.is_numeric_dtype(frame[name]):
            continue
        values = floats(frame, name)
        if name == "alpha" and "alpha_reliable" in frame:
            # Unreliable exponents are not compared.
            values = np.where(floats(frame, "alpha_reliable") == 1, values, np.nan)
        for group in dict.fromkeys(groups):
            rows = np.flatnonzero((groups == group) & np.isfinite(values))
            if len(rows) < FEWEST:
                continue
            members = values[rows]
            logs = spans_decades(members)
            z = robust_z(np.log10(members) if logs else members)
            middle = float(np.median(members))
            apart = np.abs(members - middle) > SAME * np.maximum(np.abs(members), abs(middle))
            for at in np.flatnonzero((np.abs(z) > THRESHOLD) & apart):
                text = tr(
                    "{column} {value}, median of {group} {median} (z {z}{how})",
                    column=name,
                    value=f"{members[at]:.4g}",
                    group=group,
                    median=f"{middle:.4g}",
                    z=f"{z[at]:+.1f}",
                    how=tr(", by logarithm") if logs else "",
                )
                reasons.append((int(rows[at]), Reason("deviation", name, text, float(abs(z[at])))))
    return reasons


def _fits(frame: pd.DataFrame, groups: NDArray[np.object_]) -> list[tuple[int, Reason]]:
    if not {"alpha", "alpha_reliable"} <= set(frame.columns):
        return []
    alpha, reliable = floats(frame, "alpha"), floats(frame, "alpha_reliable")
    shares = pd.Series(reliable).groupby(groups).mean()
    tail = floats(frame, "alpha_tail_count") if "alpha_tail_count" in frame else alpha * np.nan
    reasons = []
    for row in np.flatnonzero((reliable == 0) & np.isfinite(alpha)):
        # Where most fits of a block type are unreliable, one of them is nothing special;
        # `unreliable_fits` gives their number.
        if shares[groups[row]] <= 0.5:
            continue
        text = tr("power-law fit not reliable: alpha {alpha}", alpha=f"{alpha[row]:.3g}")
        if np.isfinite(tail[row]):
            text += tr(", tail of {count} values", count=f"{tail[row]:.0f}")
        reasons.append((int(row), Reason("fit", "alpha_reliable", text, 0.0)))
    return reasons


def sample_note(meta: Mapping[str, Any]) -> str:
    """What tensors of a sample are compared with, as a sentence; "" where all are measured."""
    return tr("Tensors are compared within the sample.") if meta.get("sample") else ""


def unreliable_fits(frame: pd.DataFrame) -> str:
    """How many power-law fits are not reliable, as a sentence; "" without any fit."""
    if not {"alpha", "alpha_reliable"} <= set(frame.columns):
        return ""
    reliable = floats(frame, "alpha_reliable")[np.isfinite(floats(frame, "alpha"))]
    if not len(reliable):
        return ""
    return tr(
        "{count} of {total} power-law fits are not reliable.",
        count=int(np.sum(reliable == 0)),
        total=len(reliable),
    )


def count_kinds(outliers: Sequence[Outlier]) -> dict[str, int]:
    """How many tensors are listed for each kind of reason, in the order of `KINDS`."""
    counts = {kind: sum(any(r.kind == kind for r in o.reasons) for o in outliers) for kind in KINDS}
    return {kind: count for kind, count in counts.items() if count}

"""The summary of a model as labelled lines of text, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.report.terminal.text import short_count

__all__ = ["summary_facts"]


def summary_facts(summary: Mapping[str, Any]) -> dict[str, str]:
    """Facts of a summary (`analysis.summary`); numbers that it lacks are left out.

    Args:
        summary: As `summary_in` returns it.
    """
    parts = {name: n for name, n in summary["parameters"].items() if name != "total"}
    largest = sorted(parts, key=lambda name: -parts[name])
    count = enumerated(f"{n} {short_count(parts[n])}" for n in largest)
    means = {
        tr("mean alpha"): _alpha(summary),
        tr("mean log norms"): _listed(
            summary, "log_norm", "log_spectral_norm", "log_alpha_norm", "alpha_weighted"
        ),
        tr("mean ranks"): _ranks(summary),
        tr("mean spectral entropy"): _listed(summary, "spectral_entropy"),
    }
    if summary.get("of_sample"):
        means = {
            label: tr("of the sample: {text}", text=text) for label, text in means.items() if text
        }
    facts = {tr("parameters by part"): count, **means}
    return {label: text for label, text in facts.items() if text}


def _alpha(summary: Mapping[str, Any]) -> str:
    alpha, reliable = summary["alpha"], summary["alpha_reliable"]
    if alpha is None:
        return ""
    mean = tr("{alpha} over {count} matrices", alpha=f"{alpha:.4g}", count=summary["matrices"])
    if reliable is None:
        return tr("; ").join([mean, tr("no fit is reliable")])
    share = f"{summary['reliable_share']:.0%}"
    text = tr(
        "{share} of the fits are reliable, with a mean of {alpha}",
        share=share,
        alpha=f"{reliable:.4g}",
    )
    return tr("; ").join([mean, text])


def _ranks(summary: Mapping[str, Any]) -> str:
    rank, effective = summary["rank_share"], summary["effective_rank_share"]
    texts = []
    if rank is not None:
        texts.append(tr("rank {share} of the short side", share=f"{rank:.1%}"))
    if effective is not None:
        texts.append(tr("effective rank {share}", share=f"{effective:.1%}"))
    if summary["stable_rank"] is not None:
        texts.append(tr("stable rank {rank}", rank=f"{summary['stable_rank']:.4g}"))
    return enumerated(texts)


def _listed(summary: Mapping[str, Any], *names: str) -> str:
    known = {name: summary[name] for name in names if summary[name] is not None}
    if len(names) == 1:
        return "".join(f"{value:.4g}" for value in known.values())
    return enumerated(f"{name} {value:.4g}" for name, value in known.items())

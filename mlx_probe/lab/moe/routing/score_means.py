"""Means over the scores of a layer's router."""

from __future__ import annotations

import numpy as np

from mlx_probe.lab.moe.routing.capture import BlockRun
from mlx_probe.lab.moe.routing.record import RouterMeans
from mlx_probe.lab.moe.routing.routers import scores_of

__all__ = ["ScoreMeans"]


class ScoreMeans:
    """The scores of one router, run after run; none from the first run on that has none."""

    def __init__(self) -> None:
        self._terms: str | None = None
        self._reason: str | None = None
        self._entropy, self._margin = 0.0, 0.0
        self._tokens, self._with_next = 0, 0

    def add(self, run: BlockRun) -> None:
        """Take what a mixture did with some tokens."""
        if self._reason is not None:
            return
        scores = scores_of(run)
        self._terms, self._reason = scores.terms, scores.reason
        known = np.isfinite(scores.margins)
        self._entropy += float(scores.entropies.sum())
        self._margin += float(scores.margins[known].sum())
        self._tokens += len(scores.entropies)
        self._with_next += int(known.sum())

    def result(self) -> RouterMeans:
        """The means of all runs."""
        if self._reason is not None or not self._tokens:
            return RouterMeans(None, None, None, self._reason)
        margin = self._margin / self._with_next if self._with_next else None
        return RouterMeans(self._terms, self._entropy / self._tokens, margin, None)

"""A mixture without some of its experts."""

from __future__ import annotations

from mlx_probe.lab.moe.prune.config import SCORES, PruneConfig
from mlx_probe.lab.moe.prune.prune import prune_model

__all__ = ["SCORES", "PruneConfig", "prune_model"]

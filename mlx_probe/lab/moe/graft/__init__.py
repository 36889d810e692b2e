"""A dense model as a mixture of small experts: a stock model in Hugging Face's layout."""

from __future__ import annotations

from mlx_probe.lab.moe.graft.config import FORMS, GraftConfig
from mlx_probe.lab.moe.graft.graft import Grafted, graft_model
from mlx_probe.lab.moe.graft.splits import SPLITS

__all__ = ["FORMS", "SPLITS", "GraftConfig", "Grafted", "graft_model"]

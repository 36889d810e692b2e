"""A mixture whose near-duplicate experts are one."""

from __future__ import annotations

from mlx_probe.lab.moe.merge.config import MergeConfig
from mlx_probe.lab.moe.merge.merge import merge_experts

__all__ = ["MergeConfig", "merge_experts"]

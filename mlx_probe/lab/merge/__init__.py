"""An adapter merged into its base: one model in Hugging Face's layout."""

from __future__ import annotations

from mlx_probe.lab.merge.merge import DTYPES, Merged, merge_adapter

__all__ = ["DTYPES", "Merged", "merge_adapter"]

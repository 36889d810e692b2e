"""Where a model comes from: fingerprints of sampled tensors, and how two of them are related."""

from __future__ import annotations

from mlx_probe.analysis.lineage.fingerprint import Fingerprint, read_fingerprint
from mlx_probe.analysis.lineage.records import RELATIONS, Evidence, LineageConfig, Relation
from mlx_probe.analysis.lineage.relate import relate

__all__ = [
    "RELATIONS",
    "Evidence",
    "Fingerprint",
    "LineageConfig",
    "Relation",
    "read_fingerprint",
    "relate",
]

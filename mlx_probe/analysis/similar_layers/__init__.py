"""Layers of a model that are alike: copies, mixtures, and where they come from."""

from mlx_probe.analysis.similar_layers.config import SimilarConfig
from mlx_probe.analysis.similar_layers.result import SimilarLayers
from mlx_probe.analysis.similar_layers.similar_layers import similar_layers

__all__ = ["SimilarConfig", "SimilarLayers", "similar_layers"]

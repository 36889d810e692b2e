"""How much each block of a model does to the residual stream while it reads a text."""

from mlx_probe.lab.block_influence.config import InfluenceConfig
from mlx_probe.lab.block_influence.influence import BlockInfluence, block_influence

__all__ = ["BlockInfluence", "InfluenceConfig", "block_influence"]

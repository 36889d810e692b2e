"""Two checkpoints, or a base and its adapter: weights paired, streamed side by side, measured."""

from mlx_probe.comparison.columns import COLUMNS
from mlx_probe.comparison.config import CompareConfig
from mlx_probe.comparison.measure import measure_pair
from mlx_probe.comparison.pair import Pair
from mlx_probe.comparison.pairing import pair_checkpoints

__all__ = ["COLUMNS", "CompareConfig", "Pair", "measure_pair", "pair_checkpoints"]

"""Two checkpoints, or a base and its adapter: weights paired, streamed side by side, measured."""

from mlx_probe.analysis.compare.columns import COLUMNS
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.measure import measure_pair
from mlx_probe.analysis.compare.pair import Pair
from mlx_probe.analysis.compare.pairing import pair_checkpoints

__all__ = ["COLUMNS", "CompareConfig", "Pair", "measure_pair", "pair_checkpoints"]

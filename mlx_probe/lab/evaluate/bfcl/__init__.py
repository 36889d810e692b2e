"""The Berkeley Function Calling Leaderboard (BFCL): its questions, and its verdicts."""

from __future__ import annotations

from mlx_probe.lab.evaluate.bfcl.categories import CATEGORIES, Category
from mlx_probe.lab.evaluate.bfcl.check import check_calls
from mlx_probe.lab.evaluate.bfcl.decode import decode_prompted
from mlx_probe.lab.evaluate.bfcl.verdict import Verdict

__all__ = ["CATEGORIES", "Category", "Verdict", "check_calls", "decode_prompted"]

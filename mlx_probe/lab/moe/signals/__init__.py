"""Signals: error, uncertainty, gradients, Surprise of experts, Predictive Integrity, the map.

Heuristics of one research group, beside the plain numbers that they are made of.
"""

from __future__ import annotations

from .config import SignalsConfig
from .signals import signals

__all__ = ["SignalsConfig", "signals"]

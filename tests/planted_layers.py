"""Models of many layers with planted copies, mixtures and orders: those of the benchmark."""

import importlib.util
import sys

from project import ROOT

_spec = importlib.util.spec_from_file_location(
    "_planted_layers", ROOT / "benchmarks" / "_planted_layers.py"
)
planted_layers = importlib.util.module_from_spec(_spec)
sys.modules["_planted_layers"] = planted_layers
_spec.loader.exec_module(planted_layers)

"""One view of every kind of run: what made it, from what, with what result.

`find_markers` walks a folder, `read_experiment` reads one run, `read_curves` its numbers by step.
Nothing here knows a model, and only `read_curves` imports pandas.
"""

from mlx_probe.runs.experiments.curves import read_curves
from mlx_probe.runs.experiments.find import find_markers
from mlx_probe.runs.experiments.kinds import RUN_KINDS, RunKind
from mlx_probe.runs.experiments.read import read_experiment
from mlx_probe.runs.experiments.records import STATES, Experiment, Input

__all__ = [
    "RUN_KINDS",
    "STATES",
    "Experiment",
    "Input",
    "RunKind",
    "find_markers",
    "read_curves",
    "read_experiment",
]

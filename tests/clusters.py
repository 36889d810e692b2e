"""Clusters on loopback for tests: processes that can be killed, and a tensor that kills them."""

import sys
from importlib.util import module_from_spec, spec_from_file_location

from project import ROOT

_SPEC = spec_from_file_location("_clusters", ROOT / "benchmarks" / "_clusters.py")
sys.modules["_clusters"] = _clusters = module_from_spec(_SPEC)
_SPEC.loader.exec_module(_clusters)
LoopbackCluster = _clusters.LoopbackCluster

# A worker that is started with this dies when it measures the tensor that the file names.
DEADLY = """
import os
from pathlib import Path
from mlx_probe.analysis import measure


# Called once; the module itself is run twice.
def dask_setup(worker):
    file, real = Path({file!r}), measure.Measurer.measure

    def measured(self, weights):
        if file.exists() and file.read_text() in [weight.name for weight in weights]:
            os._exit(1)
        return real(self, weights)

    measure.Measurer.measure = measured
"""
OLD = """
from mlx_probe.core import version

version.__version__ = "0.0.9"
"""
NO_PROBE = """
import sys


class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlx_probe":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hidden())
"""


def preload(path, text, **values):
    """Words of a worker's command that run a script in it first."""
    path.write_text(text.format(**values) if values else text)
    return ["--preload", str(path)]

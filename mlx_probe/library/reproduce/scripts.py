"""What an interpreter of another environment is asked, and how it runs the command."""

from __future__ import annotations

__all__ = ["MAIN", "facts_script"]

# Without the folder that it starts in: a module there would be imported in the place of ours.
_START = "import sys; sys.path.pop(0)\n"
MAIN = f"{_START}from mlx_probe.cli import main; main()"
# As the lab does it: which BLAS MLX calls is only known when it is loaded.
_WITH_MLX = """\
from mlx_probe.compute.backends.mlx.blas import load_blas
load_blas()
import mlx.core
"""
_FACTS = """\
import json
from mlx_probe.core.version import __version__
from mlx_probe.runs.environment import package_versions
from mlx_probe.runs.provenance import code_commit
print(json.dumps([__version__, code_commit(), package_versions()]))
"""


def facts_script(with_mlx: bool) -> str:
    """Prints the version, the commit and the environment as JSON.

    Args:
        with_mlx: Whether to load MLX before.
    """
    return _START + (_WITH_MLX if with_mlx else "") + _FACTS

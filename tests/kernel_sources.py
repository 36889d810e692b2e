"""The compiled kernels as pyproject.toml declares them."""

import sys
from functools import cache

import pytest
from project import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

KERNELS = ROOT / "mlx_probe" / "compute" / "native" / "kernels"


@cache
def extensions():
    """What setuptools compiles, by the library's name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    modules = project["tool"]["setuptools"]["ext-modules"]
    return {module["name"].rpartition(".")[2]: module for module in modules}

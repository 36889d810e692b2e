"""What importing the numbers' rooms costs: numpy, and nothing as large as a table or a GPU."""

import subprocess
import sys

SCRIPT = """
import pkgutil, sys
from importlib import import_module
import mlx_probe.compute, mlx_probe.metrics

needs_mlx = ("backend", "chunk", "digits", "gram", "moments", "operator", "quantization", "sums")
for package in (mlx_probe.compute, mlx_probe.metrics):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        folder, _, name = module.name.rpartition(".")
        if not folder.endswith("backends.mlx") or name not in needs_mlx:
            import_module(module.name)
heavy = ("pandas", "pyarrow", "mlx.core", "scipy", "rich", "click", "huggingface_hub", "torch")
print(*(name for name in heavy if name in sys.modules))
"""


def test_nothing_heavy_is_imported():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []

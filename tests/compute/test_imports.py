"""What importing the numbers' rooms costs: numpy, and nothing as large as a table or a GPU."""

import subprocess
import sys

SCRIPT = """
import sys
from importlib import import_module
from pathlib import Path
import mlx_probe

root = Path(mlx_probe.__file__).parent
needs_no_mlx = ("blas", "status")
for package in ("compute", "metrics"):
    for path in sorted((root / package).rglob("*.py")):
        if "mlx" not in path.relative_to(root).parts or path.stem in needs_no_mlx:
            names = path.relative_to(root.parent).with_suffix("").parts
            import_module(".".join(name for name in names if name != "__init__"))
heavy = ("pandas", "pyarrow", "mlx.core", "scipy", "rich", "click", "huggingface_hub", "torch")
print(*(name for name in heavy if name in sys.modules))
"""


def test_nothing_heavy_is_imported():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []

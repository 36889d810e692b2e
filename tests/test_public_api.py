"""The names that are promised to stay, and what importing them costs."""

import subprocess
import sys

import pytest

import mlx_probe

# What takes a tenth of a second and more to import.
HEAVY = ("numpy", "pandas", "pyarrow", "mlx", "mlx_lm", "safetensors", "torch", "huggingface_hub")


@pytest.mark.parametrize("name", mlx_probe.__all__)
def test_every_name_is_there(name):
    assert getattr(mlx_probe, name) is not None
    assert name in dir(mlx_probe)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="'nonsense'"):
        _ = mlx_probe.nonsense


def test_every_name_has_its_module():
    assert {*mlx_probe._MODULES, "__version__"} == set(mlx_probe.__all__)


@pytest.mark.parametrize(
    "code",
    ["import mlx_probe", "from mlx_probe.cli import cli; cli(['--help'], standalone_mode=False)"],
    ids=["import", "help"],
)
def test_starting_imports_nothing_heavy(code):
    program = f"import sys\n{code}\nprint('HEAVY', *[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].split() == ["HEAVY"]

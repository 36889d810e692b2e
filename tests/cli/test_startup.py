"""What a start costs: nothing is imported that is not needed."""

import subprocess
import sys

import pytest

# Each takes a tenth of a second or more.
HEAVY = (
    "pyarrow.compute",
    *("numpy", "pandas", "pyarrow", "mlx", "huggingface_hub", "rich", "gguf", "plotly"),
    *("mlx_lm", "safetensors", "transformers", "tokenizers", "torch"),
)


def imported(code):
    """Which heavy packages some code imports, in a process of its own."""
    report = f"import sys\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1].split()


def test_the_package_imports_nothing_heavy():
    assert imported("import mlx_probe") == []


@pytest.mark.parametrize("arguments", [["--help"], ["completion", "zsh"], ["monitor", "--help"]])
def test_help_imports_little(arguments):
    code = f"from mlx_probe.cli import cli\ncli({arguments}, standalone_mode=False)"
    allowed = {"rich", "numpy", "pyarrow"} if arguments[0] == "monitor" else set()
    assert set(imported(code)) <= allowed


def test_an_analysis_imports_nothing_that_trains_or_runs_models(tiny, tmp_path):
    arguments = ["analyze", str(tiny), "--out", str(tmp_path), "--backend", "numpy", "--quiet"]
    code = f"from mlx_probe.cli import cli\ncli({arguments}, standalone_mode=False)"
    lab = {"mlx", "mlx_lm", "safetensors", "transformers", "tokenizers", "torch"}
    assert not lab & set(imported(code))


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_analysis_does_without_pandas(tiny, tmp_path, form):
    arguments = ["analyze", str(tiny), "--out", str(tmp_path), "--format", form]
    code = f"from mlx_probe.cli import cli\ncli({arguments}, standalone_mode=False)"
    assert not {"pandas", "pyarrow.compute"} & set(imported(code))


def test_completing_a_command_imports_none():
    code = (
        "from mlx_probe.cli import cli\n"
        "from click.shell_completion import BashComplete\n"
        "names = BashComplete(cli, {}, 'mlx-probe', 'C').get_completions([], 'an')\n"
        "assert [item.value for item in names] == ['analyze']"
    )
    assert imported(code) == []


def test_names_of_the_package_are_what_it_says():
    import mlx_probe

    assert set(mlx_probe.__all__) <= set(dir(mlx_probe))
    for name in mlx_probe.__all__:
        called = mlx_probe._MODULES.get(name, "").partition(":")[2] or name
        assert name == "__version__" or getattr(mlx_probe, name).__name__ == called
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mlx_probe.nothing


@pytest.mark.parametrize("options", [["--quiet"], []])
def test_the_first_weight_begins_before_what_only_the_end_needs_is_imported(
    tiny, tmp_path, options
):
    arguments = ["analyze", str(tiny), "--out", str(tmp_path), "--backend", "numpy", *options]
    late = ("rich", "pyarrow", "gguf", "pandas", "yaml", "mlx_probe.analysis.forecast.forecast")
    code = (
        "import sys\n"
        "from mlx_probe.analysis.measure import Measurer\n"
        "begin, begun = Measurer.__init__, []\n"
        "def noted(self, *arguments):\n"
        f"    begun.append([name for name in {late} if name in sys.modules])\n"
        "    begin(self, *arguments)\n"
        "Measurer.__init__ = noted\n"
        "from mlx_probe.cli import cli\n"
        f"cli({arguments}, standalone_mode=False)\n"
        "print('before:', begun)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "before: [[]]"

import json
import sys

import pytest
from models import invoke, refuses
from tinymodel import refused, run
from weightfiles import write_safetensors

from mlx_probe.analysis.bench.methods import CONTENDERS
from mlx_probe.compute import native

HEADER = "contender device seconds ratio matrices sum off by largest by same rank"


@pytest.fixture
def bare(monkeypatch):
    """Neither torch nor WeightWatcher is installed, and no kernels are compiled."""
    monkeypatch.setenv(native.VARIABLE, "0")
    for name in ("torch", "weightwatcher"):
        monkeypatch.setitem(sys.modules, name, None)


def lines_of(text):
    return [line.split() for line in text.splitlines() if line.strip()]


def test_a_model_by_the_installed_command(model):
    contenders = ("--contender", "numpy-svd", "--contender", "numpy", "--repeat", 2)
    result = run("bench", model, *contenders, COLUMNS="200")
    assert (result.returncode, result.stderr) == (0, "")
    title, header, _, first, second, *caption = lines_of(result.stdout)
    assert " ".join(title) == f"{model}: 10 matrices, 13,440 elements, median of 2"
    assert " ".join(header) == HEADER
    assert first[:2] == ["numpy-svd", "cpu"]
    assert first[3:] == ["1.00", "10", "0.0e+00", "0.0e+00", "10"]
    assert (second[:2], second[4], second[7]) == (["numpy", "cpu"], "10", "10")
    assert all(float(difference) < 1e-9 for difference in second[5:7])
    assert "BLAS threads it takes by default" in " ".join(map(" ".join, caption))


def test_gaussian_matrices_without_optional_packages(bare, tmp_path):
    path = tmp_path / "bench.json"
    result = invoke("bench", "--shape", "64x48", "--repeat", 1, "--json", path, COLUMNS="200")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    lines = lines_of(result.stdout)
    assert " ".join(lines[0]) == "Gaussian BF16 64x48: 1 matrices, 3,072 elements, median of 1"
    assert [line[0] for line in lines[3:6]] == ["numpy", "mlx", "numpy-svd"]
    assert [" ".join(line) for line in lines[-4:]] == [
        "left out: native: the kernels eigen: MLX_PROBE_NATIVE is 0. Unset MLX_PROBE_NATIVE",
        *(
            f"left out: {name}: torch is not installed. Install it: pip install torch"
            for name in ("torch-f32", "torch-f64", "weightwatcher")
        ),
    ]
    described = json.loads(path.read_text("utf-8"))
    assert described["workload"] == "Gaussian BF16 64x48"
    assert described["matrices"] == [
        {"name": "gaussian.0.64x48", "rows": 64, "cols": 48, "dtype": "BF16"}
    ]
    assert described["repeat"] == 1
    assert described["environment"]["packages"]["numpy"]
    left_out = {"native", "torch-f32", "torch-f64", "weightwatcher"}
    assert described["left_out"].keys() == left_out
    assert [entry["name"] for entry in described["contenders"]] == ["numpy", "mlx", "numpy-svd"]
    for entry in described["contenders"]:
        assert entry["description"] == CONTENDERS[entry["name"]].description
        assert entry["version"]
        assert entry["device"]
        assert len(entry["seconds"]) == 1
        assert (entry["compared"], entry["equal_ranks"]) == (1, 1)
        assert max(entry["sum_difference"], entry["largest_difference"]) < 1e-9
    assert described["contenders"][0]["ratio"] == 1.0


def test_json_on_standard_output_is_all_of_it():
    contenders = ("--contender", "torch-f32", "--contender", "torch-f64")
    shapes = ("--shape", "20x30", "--shape", "30x20", "--dtype", "F32")
    result = invoke("bench", *shapes, *contenders, "--json", "-")
    assert result.exit_code == 0, result.output
    described = json.loads(result.stdout)
    assert [matrix["rows"] for matrix in described["matrices"]] == [20, 30]
    single, double = described["contenders"]
    assert (single["name"], double["compared"]) == ("torch-f32", 2)
    assert 0 < double["sum_difference"] < 1e-5
    assert described["left_out"] == {}


def test_globs_choose_the_matrices(model):
    options = ("--include", "*k_proj*", "--contender", "numpy", "--repeat", 1)
    result = invoke("bench", model, *options, COLUMNS="200")
    assert "1 matrices, 512 elements" in " ".join(result.stdout.split())


def test_a_contender_that_was_named_must_be_there(bare):
    result = invoke("bench", "--shape", "4x4", "--contender", "weightwatcher")
    refuses(result, "torch is not installed", "pip install torch")


def test_an_unknown_contender_lists_the_known_ones():
    said = refused(run("bench", "--contender", "abacus"), "abacus")
    assert all(name in said for name in CONTENDERS)


@pytest.mark.parametrize("shape", ["64", "64x", "0x4", "4x-4", "4x4x4", "a4x4", "4.0x4"])
def test_a_shape_is_two_numbers(shape):
    refuses(invoke("bench", "--shape", shape), "is not a shape such as 4096x1024", code=2)


@pytest.mark.parametrize(
    "options", [("--include", "*"), ("--revision", "main"), ("--include", "*", "--shape", "4x4")]
)
def test_what_chooses_from_a_model_needs_one(options):
    refuses(invoke("bench", *options), "choose from a MODEL", code=2)


@pytest.mark.parametrize("options", [("--shape", "4x4"), ("--dtype", "F32")])
def test_a_model_has_its_own_shapes_and_types(model, options):
    refuses(invoke("bench", model, *options), "Leave them out", code=2)


def test_a_model_without_matrices(tmp_path, rng):
    words = rng.standard_normal(8).astype("<f4")
    write_safetensors(tmp_path / "model.safetensors", {"norm.weight": (words, "F32")})
    refuses(invoke("bench", tmp_path), "is a matrix of finite numbers", code=2)


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_timed(tmp_path, monkeypatch):
    # The package's name of it is the command.
    monkeypatch.setattr(sys.modules["mlx_probe.cli.bench"], "compare", None)
    result = invoke("bench", "--shape", "4x4", "--json", tmp_path / "none" / "bench.json")
    refuses(result, "No such file or directory", code=2)

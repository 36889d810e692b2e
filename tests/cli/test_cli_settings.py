"""Where settings come from: option, environment, YAML file, default, in that order."""

import json
from dataclasses import fields

import click
import pytest
from models import invoke, refuses
from tinymodel import run

from mlx_probe import AnalyzeConfig
from mlx_probe.cli import cli
from mlx_probe.cli.options import SIZE

ANALYZE = cli.commands["analyze"]
DEFAULT = AnalyzeConfig()

# Per setting: in YAML, in the environment, as an option, and what each comes to.
LAYERS = {
    "backend": ("mlx", "numpy", "auto", ("mlx", "numpy", "numpy")),
    "device": ("cpu", "cpu", "auto", ("cpu", "cpu", "auto")),
    "metrics": ("basic", "full", "standard", ("basic", "full", "standard")),
    "spectrum": ("approx", "exact", "approx", ("approx", "exact", "approx")),
    "include": ("'*q*'", "*k* *v*", "*o*", (["*q*"], ["*k*", "*v*"], ["*o*"])),
    "exclude": ("[mask, e*]", "mask", "e*", (["mask", "e*"], ["mask"], ["e*"])),
    "sample": (
        *("layers=1|experts=1", "experts=1|layers=every:2", "experts=2"),
        ("layers=1|experts=1", "layers=every:2|experts=1", "experts=2"),
    ),
    "rank_tol": ("1e-5", "1e-4", "1e-3", (1e-5, 1e-4, 1e-3)),
    "zero_epsilon": ("1e-5", "1e-4", "1e-3", (1e-5, 1e-4, 1e-3)),
    "workers": ("2", "3", "4", (2, 3, 4)),
    "memory_limit": ("4GB", "5GiB", "6000000000", (4 * 10**9, 5 * 2**30, 6 * 10**9)),
    "seed": ("5", "6", "7", (5, 6, 7)),
    # A flag: as an option without a value.
    "save_spectra": ("false", "true", None, (False, True, False)),
}


def test_every_setting_is_an_option():
    assert set(LAYERS) == {field.name for field in fields(AnalyzeConfig)}
    assert set(LAYERS) <= {option.name for option in ANALYZE.params}


@pytest.mark.parametrize("name", LAYERS)
def test_option_over_environment_over_file_over_default(tiny, tmp_path, name):
    in_file, in_environment, as_option, expected = LAYERS[name]
    option = f"--{name.replace('_', '-')}"
    config = tmp_path / "c.yaml"
    config.write_text(f"{option[2:]}: {in_file}\n")
    chosen = (option, as_option) if as_option else (f"--no-{option[2:]}",)
    variable = {f"MLX_PROBE_ANALYZE_{name.upper()}": in_environment}

    def setting(*arguments, **environment):
        out = tmp_path / "out"
        command = ["analyze", tiny, "--out", out, "--overwrite", "-q", *arguments]
        result = invoke(*command, **environment)
        assert result.exit_code == 0, result.output
        return json.loads((out / "run_meta.json").read_text("utf-8"))["configuration"][name]

    file = ("--config", config)
    assert [
        setting(*file),
        setting(*file, **variable),
        setting(*file, *chosen, **variable),
    ] == list(expected)


def test_an_option_on_its_own_line_of_any_spelling(tiny, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("rank_tol: 1e-5\nzero-epsilon: 1.0e-4\nformat: [csv, jsonl]\nquiet: yes\n")
    out = tmp_path / "out"
    result = invoke("analyze", tiny, "--out", out, "--config", config)
    assert (result.exit_code, result.output) == (0, "")
    meta = json.loads((out / "run_meta.json").read_text("utf-8"))
    assert meta["configuration"]["rank_tol"] == 1e-5
    assert meta["configuration"]["zero_epsilon"] == 1e-4
    assert list(meta["outputs"]) == ["params.csv", "params.jsonl", "spectra.parquet"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "workers:\nseed: ~\nout: null\n"])
def test_what_a_file_leaves_open_is_the_default(tiny, tmp_path, text):
    config = tmp_path / "c.yaml"
    config.write_text(text)
    out = tmp_path / "out"
    result = invoke("analyze", tiny, "--config", config, "-q", MLX_PROBE_ANALYZE_OUT=str(out))
    assert result.exit_code == 0, result.output
    used = json.loads((out / "run_meta.json").read_text("utf-8"))["configuration"]
    assert used["seed"] == DEFAULT.seed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("wokers: 2", "Did you mean 'workers'?"),
        ("ranktol: 1", "Did you mean 'rank_tol'?"),
        ("zzz: 1", "Known keys: out, format"),
        ("config: other.yaml", "unknown key 'config'"),
        ("3: 1", "unknown key '3'"),
        ("workers: many", "many"),
        ("workers: 2.7", "2.7"),
        ("workers: true", "true"),
        ("workers: [2]", "'workers' cannot be ['2']"),
        ("seed: {a: 1}", "'seed' cannot be"),
        ("seed: 2020-01-01", "2020-01-01"),
        ("rank-tol: [1]", "'rank-tol' cannot be"),
        ("rank-tol: small", "small"),
        ("quiet: [yes]", "'quiet' cannot be"),
        ("quiet: perhaps", "perhaps"),
        ("dry-run: 7", "7"),
        ("format: [csv, 3]", "'3'"),
        ("format: [csv, [jsonl]]", "'format' cannot be"),
        ("include: {a: b}", "'include' cannot be"),
        ("memory-limit: many", "many"),
        ("metrics: 3", "'3'"),
        ("- a list", "not a mapping"),
        ("just text", "not a mapping"),
        ("a: [b", "YAML"),
        ("? [a]\n: b", "YAML"),
        ("seed: !!python/object/apply:os.getcwd []", "'seed' cannot be"),
        ("[" * 1200, "YAML"),
        ("a: \x00", "YAML"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_file_ends_in_one_message(tiny, tmp_path, text, says):
    config = tmp_path / "c.yaml"
    config.write_text(text)
    result = invoke("analyze", tiny, "--out", tmp_path / "out", "--config", config)
    refuses(result, says, code=2)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_text(tiny, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_bytes(b"workers: \xff")
    refuses(invoke("analyze", tiny, "--config", config), str(config), code=2)


def test_a_wrong_environment_variable_is_named(tiny):
    result = invoke("analyze", tiny, MLX_PROBE_ANALYZE_WORKERS="many")
    refuses(result, "many", code=2)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("600MB", 600 * 10**6),
        ("600 mb", 600 * 10**6),
        ("1.5GiB", 3 * 2**29),
        ("1kb", 1000),
        ("2TiB", 2**41),
    ],
)
def test_sizes(text, size):
    assert SIZE.convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1 XB", "1e9", "1,5GB", "nan", "0x10"])
def test_texts_that_are_no_size(text):
    with pytest.raises(click.BadParameter, match="is not a size"):
        SIZE.convert(text, None, None)


def test_the_real_command_reads_all_layers(tiny, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("seed: 1\nrank-tol: 1e-5\nzero-epsilon: 1e-4\n")
    out = tmp_path / "out"
    layers = {"MLX_PROBE_ANALYZE_SEED": "2", "MLX_PROBE_ANALYZE_RANK_TOL": "1e-3"}
    result = run("analyze", tiny, "--out", out, "--config", config, "--seed", "3", "-q", **layers)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    used = json.loads((out / "run_meta.json").read_text("utf-8"))["configuration"]
    assert (used["seed"], used["rank_tol"], used["zero_epsilon"]) == (3, 1e-3, 1e-4)
    assert used["metrics"] == DEFAULT.metrics


def plan_of(tiny, *arguments, **environment):
    result = invoke("plan", tiny, "--json", *arguments, **environment)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["configuration"]


def test_plan_takes_what_is_set_for_analyze(tiny):
    assert plan_of(tiny, MLX_PROBE_ANALYZE_METRICS="full")["metrics"] == "full"
    both = {"MLX_PROBE_ANALYZE_METRICS": "full", "MLX_PROBE_PLAN_METRICS": "basic"}
    assert plan_of(tiny, **both)["metrics"] == "basic"
    assert plan_of(tiny, "--metrics", "standard", **both)["metrics"] == "standard"


def test_plan_reads_the_files_of_analyze(tiny, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("metrics: basic\nalert: ['memory above 90% pause']\nresume: false\n")
    assert plan_of(tiny, "--config", config)["metrics"] == "basic"
    assert plan_of(tiny, MLX_PROBE_ANALYZE_CONFIG=str(config))["metrics"] == "basic"
    config.write_text("metric: basic\n")
    refuses(invoke("plan", tiny, "--config", config), "unknown key 'metric'", code=2)
